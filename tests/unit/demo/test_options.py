"""What the demo takes from its environment, and what it refuses."""

from __future__ import annotations

import pytest

from deploy.demo.families import FAMILIES
from deploy.demo.options import Options, WrongOption


def told(environment: dict[str, str]) -> dict[str, list[str]]:
    """Say which stories of which families are told."""
    chapters = Options.read(environment).chapters
    return {chapter.family.name: [story.name for story in chapter.stories] for chapter in chapters}


@pytest.mark.parametrize("environment", [{}, {"STORY": "all"}, {"STORY": "", "KEEP": "", "ORDERS": " "}])
def test_nothing_given_means_every_story_once(environment: dict[str, str]) -> None:
    """Without variables, or with the empty ones that `make` may hand on, the demo tells all stories, and ends."""
    options = Options.read(environment)
    assert [chapter.family for chapter in options.chapters] == list(FAMILIES)
    assert not options.keep
    orders = options.chapters[0]
    assert (orders.family.name, orders.requests) == ("order", 48)


@pytest.mark.parametrize(("value", "kept"), [("1", True), ("yes", True), ("0", False), ("false", False)])
def test_keep_is_a_switch(value: str, kept: bool) -> None:
    """KEEP=1 keeps everything up, KEEP=0 does not."""
    assert Options.read({"KEEP": value}).keep is kept


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_told_alone(family: object) -> None:
    """STORY names a family of stories."""
    [chapter] = Options.read({"STORY": getattr(family, "name", "")}).chapters
    assert chapter.family is family
    assert len(chapter.stories) >= 7


@pytest.mark.parametrize("name", ["refund stuck", "refund-stuck", "no car left", "silent-debit"])
def test_a_story_is_told_alone(name: str) -> None:
    """STORY names a single story, as it is called or without its blanks."""
    [stories] = told({"STORY": name}).values()
    assert stories == [name.replace("-", " ")]


def test_the_number_of_orders_is_that_of_good_ones() -> None:
    """ORDERS changes the orders, and no other family."""
    usual, few = Options.read({}).chapters, Options.read({"ORDERS": "7"}).chapters
    assert few[0].requests == 7 + 8
    assert few[1:] == usual[1:]


def test_a_wrong_story_is_answered_with_all_that_there_are() -> None:
    """The error lists every family and every story by what can be typed."""
    with pytest.raises(WrongOption, match=r"^STORY=cruise is not known") as wrong:
        Options.read({"STORY": "cruise"})
    for name in (
        "all",
        "order (good-order, ",
        "bank (good-transfer, ",
        "travel (good-trip, ",
        "refund-stuck",
        "too-dear",
    ):
        assert name in str(wrong.value)


@pytest.mark.parametrize(
    "environment",
    [
        {"STORY": "orders"},
        {"KEEP": "maybe"},
        {"ORDERS": "0"},
        {"ORDERS": "-3"},
        {"ORDERS": "1001"},
        {"ORDERS": "\u0663"},
        {"ORDERS": "ten"},
    ],
)
def test_a_wrong_value_is_named(environment: dict[str, str]) -> None:
    """A value that means nothing is refused with the variable's name, before anything is started."""
    [(name, value)] = environment.items()
    with pytest.raises(WrongOption, match=f"{name}={value}"):
        Options.read(environment)
