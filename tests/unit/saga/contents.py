"""Definitions whose steps carry functions of every kind; the tests load this module in processes of their own."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, field_validator

from coordinator.saga.content import content_of
from coordinator.saga.definition import SagaDefinition, Step

LIMITS = {"DE": 10, "FR": 20}
HOME = frozenset({"DE", "FR", "IT", "ES", "NL", "BE"})


@dataclass(frozen=True)
class RichStep(Step):
    """A step with what steps may come to have."""

    when: Callable[..., Any] | None = None
    labels: frozenset[str] = frozenset()


def _tidy(text: str) -> str:
    return text.strip()


class Order(BaseModel):
    """An order."""

    order_id: str
    country: Annotated[str, AfterValidator(_tidy)]

    @field_validator("country")
    @classmethod
    def _known(cls, value: str) -> str:
        return value if value in HOME else "??"


def is_abroad(order: Any, results: Any) -> bool:
    """Say whether the parcel leaves the country."""
    return _limit(order) > 10 and order.country not in {"DE", "CH", "AT"} and bool(results)


def _limit(order: Any) -> int:
    return LIMITS.get(order.country, 0)


def named(order: Any, results: Any, limit: int) -> bool:
    """Say whether there are more results than a limit."""
    return order is not None and len(results) > limit


def above(limit: int) -> Callable[..., bool]:
    """Make a function that closes over a limit."""
    return lambda order, _: order.amount > limit


class Above:
    """An object that is called."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, order: Any, _: Any) -> bool:
        """Decide."""
        return bool(order.amount > self.limit)


@functools.cache
def depth(number: int, other: int) -> int:
    """Call itself."""
    return other if number == 0 else depth(number - 1, other)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "plain": is_abroad,
    "closure": above(7),
    "lambda": lambda order, _: order.country in {"DE", "FR", "IT"},
    "partial": functools.partial(named, limit=3),
    "object": Above(3),
    "cached": depth,
    "builtin": operator.contains,
}


def definition(when: Callable[..., Any] | None = None, labels: frozenset[str] = frozenset()) -> SagaDefinition:
    """Make a definition of one step."""
    step = RichStep("pack", "inventory", "Pack", "Unpack", when=when, labels=labels)
    return SagaDefinition("Packing", 1, Order, "order_id", (step,))


definitions = tuple(
    replace(definition(when, labels=HOME), version=number) for number, when in enumerate(FUNCTIONS.values(), start=1)
)


def main() -> None:
    """Print the digests, for another process to compare."""
    sys.stdout.write("\n".join(content_of(each).digest.hex() for each in definitions))
