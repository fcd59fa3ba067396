"""Which families of stories there are, and which of their stories are to be told. A new family is one more here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deploy.demo.stories.bank import bank
from deploy.demo.stories.choreography import choreography
from deploy.demo.stories.model import Family, Story
from deploy.demo.stories.order import order
from deploy.demo.stories.travel import travel

FAMILIES: Final[tuple[Family, ...]] = (order, bank, travel, choreography)
ALL: Final = "all"


class UnknownStory(Exception):
    """There is no such family and no such story; the message lists what there is."""


@dataclass(frozen=True)
class Chapter:
    """The stories of one family that are told."""

    family: Family
    stories: tuple[Story, ...]

    @property
    def requests(self) -> int:
        """How many sagas there will be."""
        return sum(story.requests for story in self.stories)


def choose(wanted: str, good: int | None = None) -> tuple[Chapter, ...]:
    """Find what is wanted: a family, a story, or `all`; raises UnknownStory.

    `good` is how many good orders there are beside the special ones; None means as many as usual.
    """
    chapters = tuple(_chapter(family, good if family is order else None) for family in FAMILIES)
    if wanted == ALL:
        return chapters
    families = tuple(chapter for chapter in chapters if chapter.family.name == wanted)
    if families:
        return families
    for chapter in chapters:
        for story in chapter.stories:
            if wanted in {story.name, story.word}:
                return (Chapter(chapter.family, (story,)),)
    lists = (f"{chapter.family.name} ({', '.join(story.word for story in chapter.stories)})" for chapter in chapters)
    raise UnknownStory(f"is not known; use {ALL}, a family or one of its stories: {'; '.join(lists)}")


def _chapter(family: Family, good: int | None) -> Chapter:
    return Chapter(family, family.stories(family.usual if good is None else good))
