"""A run: a process is killed at a passage of a point, while sagas go one way."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass
from typing import Any, Final

from tests.crash.points import Armed, points_of
from tests.e2e.orders import REFUSED, order

HAPPY, COMPENSATING = "happy", "compensating"
WAYS: Final = (HAPPY, COMPENSATING)
HITS: Final = (1, 2)
SAGAS: Final = 6  # at once: on every partition, and some of them together
REFUSED_LATE: Final = REFUSED[2]  # by shipping, when reservation and payment are done

# What these passages do has no direction: all of them count, whichever way the sagas go.
UNDIRECTED: Final = frozenset("ABQSM")

_customers = itertools.count(1)


@dataclass(frozen=True)
class Run:
    """Which passage of which point is the last, and which way the sagas go."""

    point: str
    hit: int
    way: str

    def __str__(self) -> str:
        return f"{self.point}-hit{self.hit}-{self.way}"

    @property
    def armed(self) -> Armed:
        """What the process is told: while sagas are undone, only the work of undoing counts."""
        return Armed(self.point, self.hit, self.way == COMPENSATING and self.point[0] not in UNDIRECTED)


def runs_of(path: str) -> list[Run]:
    """Every point of a path, its first and its second passage, both ways."""
    return [Run(point, hit, way) for point in points_of(path) for way in WAYS for hit in HITS]


def orders_of(way: str, count: int = SAGAS) -> list[dict[str, Any]]:
    """Make orders that all go one way, each of a customer of its own."""
    changes = REFUSED_LATE if way == COMPENSATING else {}
    run = secrets.token_hex(2)
    return [order(customer_id=f"customer-{run}-{next(_customers)}", **changes) for _ in range(count)]


def ending(way: str) -> str:
    """How a saga ends that goes this way."""
    return "failed" if way == COMPENSATING else "completed"
