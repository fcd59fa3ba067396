"""What the environment asks of the demo: STORY, KEEP and ORDERS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deploy.demo.families import ALL, Chapter, UnknownStory, choose

ORDERS_MAX: Final = 1_000


class WrongOption(Exception):
    """A variable has a value that means nothing; the message says which do."""


@dataclass(frozen=True)
class Options:
    """How to run: which stories to tell, and whether to keep everything up afterwards."""

    chapters: tuple[Chapter, ...]
    keep: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Options:
        """Read them from environment variables; raises WrongOption."""
        story = environment.get("STORY", "").strip() or ALL
        orders = _number(environment, "ORDERS")
        try:
            chapters = choose(story, orders)
        except UnknownStory as error:
            raise WrongOption(f"STORY={story} {error}") from error
        return cls(chapters, _switch(environment, "KEEP"))


def _switch(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "").strip().lower()
    if value in {"", "0", "no", "false"}:
        return False
    if value in {"1", "yes", "true"}:
        return True
    raise WrongOption(f"{name}={value} is neither 1 nor 0")


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name, "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= ORDERS_MAX:
        raise WrongOption(f"{name}={value} is no number from 1 to {ORDERS_MAX}")
    return int(value)
