"""Definitions made from a seed: one to eight steps, groups, pivots, conditions, short timeouts and small budgets."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from coordinator.errors import DefinitionError
from coordinator.saga.definition import Kind, Retry, SagaDefinition, Step, external, seconds

PARTICIPANTS = ("ann", "ben", "cat")
RECOVERY = Retry(attempts=2, base=seconds(2), cap=seconds(6))


class Asked(BaseModel):
    """What every saga of a run is started with; `parity` decides its conditional steps."""

    model_config = ConfigDict(extra="forbid")

    key: str
    parity: int


def is_odd(asked: Asked, results: Any) -> bool:
    """Whether a conditional step is wanted."""
    return asked.parity % 2 == 1


def draw(chance: random.Random, count: int) -> tuple[SagaDefinition, ...]:
    """Draw so many definitions."""
    found: list[SagaDefinition] = []
    while len(found) < count:
        try:
            found.append(_draw(chance, f"Drawn{len(found) + 1}"))
        except DefinitionError:
            continue  # the dice made one that cannot work, and it said so
    return tuple(found)


def second(chance: random.Random, first: SagaDefinition) -> SagaDefinition:
    """Draw another version of a definition: as many steps, of the same names, that ask others for something else."""
    while True:
        try:
            return _draw(chance, first.name, first.version + 1, len(first.steps))
        except DefinitionError:
            continue


def _draw(chance: random.Random, name: str, version: int = 1, count: int = 0) -> SagaDefinition:
    count = count or chance.choice((1, 2, 3, 3, 4, 5, 8))
    pivot = chance.randrange(count) if chance.random() < 0.4 else None
    group_at = chance.randrange(count - 1) if count > 2 and chance.random() < 0.4 else None
    steps = []
    for place in range(count):
        kind = Kind.COMPENSATABLE
        if pivot is not None and place >= pivot:
            kind = Kind.PIVOT if place == pivot else Kind.RETRIABLE
        grouped = group_at is not None and group_at <= place <= group_at + 1
        group = "g" if grouped and pivot not in (group_at, place) else None
        steps.append(_step(chance, place, kind, group, "" if version == 1 else f"In{version}"))
    deadline = seconds(chance.uniform(8, 20)) if pivot is None and chance.random() < 0.15 else None
    return SagaDefinition(name, version, Asked, "key", tuple(steps), deadline=deadline, recovery=RECOVERY)


def _step(chance: random.Random, place: int, kind: Kind, group: str | None, suffix: str) -> Step:
    if group is None and kind is Kind.COMPENSATABLE and place and chance.random() < 0.12:
        return external(f"step_{place}", timeout=seconds(chance.uniform(2.0, 8.0)))
    undone = kind is Kind.COMPENSATABLE and chance.random() < 0.9
    return Step(
        f"step_{place}",
        participant=chance.choice(PARTICIPANTS),
        action=f"Do{place}{suffix}",
        compensation=f"Undo{place}{suffix}" if undone else None,
        timeout=seconds(chance.uniform(1.0, 3.0)),
        retry=Retry(attempts=chance.randint(1, 3), base=seconds(0.2), cap=seconds(1)),
        compensation_retry=Retry(attempts=chance.randint(2, 4), base=seconds(0.2), cap=seconds(2)),
        expiry=timedelta(minutes=10),
        kind=kind,
        when=is_odd if group is None and kind is Kind.COMPENSATABLE and chance.random() < 0.15 else None,
        group=group,
    )
