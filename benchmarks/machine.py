"""What the machine costs: python -m benchmarks.machine. Microseconds of one core, best of several rounds.

The happy path of the four-step OrderFulfillment: one begin and four replies, the state written after each.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

import msgspec

from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Decision, Moved
from coordinator.saga.events import CompensationCompleted, Event, Failure, StepCompleted, StepFailed
from coordinator.saga.machine import begin, decide
from coordinator.saga.model import Direction, Saga, SagaStatus, UndoEffect, command_id, dump_state, load_state
from sagas.order_fulfillment import order_fulfillment

SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
RESULT = msgspec.Raw(b'{"reservation_id":"r-000001"}')
ROUNDS, REPEATS = 7, 2_000


def main() -> None:
    """Measure each path and print one line for it."""
    happy, undone = _happy_path(order_fulfillment), _undone_path(order_fulfillment)
    saga = _play(happy, write=False)
    assert saga.status is SagaStatus.COMPLETED
    assert _play(undone, write=False).status is SagaStatus.FAILED
    state = dump_state(saga)
    paths: dict[str, Callable[[], object]] = {
        "happy path, 5 transitions, with dump_state": lambda: _play(happy, write=True),
        "happy path, 5 transitions, machine alone": lambda: _play(happy, write=False),
        "last step fails, 8 transitions, with dump_state": lambda: _play(undone, write=True),
        "a duplicate reply": lambda: _decide(saga, happy[0]),
        f"load_state, {len(state)} B": lambda: load_state(state),
    }
    for name, path in paths.items():
        best = min(timeit.repeat(path, number=REPEATS, repeat=ROUNDS)) / REPEATS
        print(f"{best * 1e6:8.2f} us  {name}")


def _play(events: list[Event], *, write: bool) -> Saga:
    saga = begin(order_fulfillment, SAGA_ID, now_ms=0).saga
    if write:
        dump_state(saga)
    for event in events:
        decision = _decide(saga, event)
        assert isinstance(decision, Moved)
        saga = decision.saga
        if write:
            dump_state(saga)
    return saga


def _decide(saga: Saga, event: Event) -> Decision:
    return decide(order_fulfillment, saga, event, now_ms=0, roll=0.5)


def _happy_path(definition: SagaDefinition) -> list[Event]:
    return [
        StepCompleted(*_named(definition, position, Direction.ACTION), RESULT)
        for position in range(len(definition.steps))
    ]


def _undone_path(definition: SagaDefinition) -> list[Event]:
    last = len(definition.steps) - 1
    failed = StepFailed(*_named(definition, last, Direction.ACTION), Failure("declined", "no"))
    undone = [
        CompensationCompleted(*_named(definition, position, Direction.COMPENSATION), UndoEffect.UNDONE)
        for position in reversed(range(last))
    ]
    return [*_happy_path(definition)[:last], failed, *undone]


def _named(definition: SagaDefinition, position: int, direction: Direction) -> tuple[str, str, str, int]:
    step = definition.steps[position]
    return command_id(SAGA_ID, 1, step.name, direction), step.name, step.participant, 1


if __name__ == "__main__":
    main()
