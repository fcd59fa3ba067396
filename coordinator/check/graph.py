"""What must hold of all ways together: silence brings every saga to rest, and an end can be reached from everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from coordinator.saga.model import RESTING, Facing, Outcome, Saga, SagaStatus

Lead = Mapping[int, Sequence[int]]


def hangs(sagas: Sequence[Saga], timers: Lead) -> int | None:
    """When nobody answers, timers alone bring every saga to rest: find one that they do not, or None.

    A saga hangs where no timer runs, and where timers lead round in a circle; `timers` knows every saga there is.
    """
    left = {number: len(following) for number, following in timers.items()}
    leads_back: dict[int, list[int]] = {}
    for number, following in timers.items():
        for after in following:
            leads_back.setdefault(after, []).append(number)
    waiting = [number for number in timers if sagas[number].status in RESTING]
    rest = set(waiting)
    while waiting:
        for number in leads_back.get(waiting.pop(), ()):
            left[number] -= 1
            if left[number] == 0:
                rest.add(number)
                waiting.append(number)
    return next((number for number in timers if number not in rest), None)


def reaching(ends: Iterable[int], *leads_back: Lead) -> set[int]:
    """Every world from which one of some worlds can be reached."""
    found = set(ends)
    waiting = list(found)
    while waiting:
        world = waiting.pop()
        for lead in leads_back:
            for earlier in lead.get(world, ()):
                if earlier not in found:
                    found.add(earlier)
                    waiting.append(earlier)
    return found


def is_hopeful(saga: Saga) -> bool:
    """Whether a saga can still be completed without an operator, if everybody answers well."""
    if saga.status not in (SagaStatus.SCHEDULED, SagaStatus.STARTED, SagaStatus.PENDING):
        return False
    return saga.facing is Facing.FORWARD and all(state.outcome is not Outcome.FAILED for state in saga.steps)
