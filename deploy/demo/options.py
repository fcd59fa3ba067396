"""What the environment asks of the demo: STORY, KEEP and ORDERS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CHAPTERS: Final = ("order",)  # what STORY can name; `all` is every one of them
ORDERS_DEFAULT: Final = 40
ORDERS_MAX: Final = 1_000


class WrongOption(Exception):
    """A variable has a value that means nothing; the message says which do."""


@dataclass(frozen=True)
class Options:
    """How to run: `orders` good orders beside the special ones; `keep` everything up afterwards."""

    keep: bool = False
    orders: int = ORDERS_DEFAULT

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Options:
        """Read them from environment variables; raises WrongOption."""
        story = environment.get("STORY", "").strip() or "all"
        if story != "all" and story not in CHAPTERS:
            raise WrongOption(f"STORY={story} is not known; use {', '.join(CHAPTERS)} or all")
        return cls(_switch(environment, "KEEP"), _number(environment, "ORDERS"))


def _switch(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "").strip().lower()
    if value in {"", "0", "no", "false"}:
        return False
    if value in {"1", "yes", "true"}:
        return True
    raise WrongOption(f"{name}={value} is neither 1 nor 0")


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "").strip() or str(ORDERS_DEFAULT)
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= ORDERS_MAX:
        raise WrongOption(f"{name}={value} is no number from 1 to {ORDERS_MAX}")
    return int(value)
