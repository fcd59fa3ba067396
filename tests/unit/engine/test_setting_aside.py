"""Which records get a dead letter of their own when many come at once, and which share one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from coordinator.engine.letters import LETTERS_PER_BATCH, REDRIVEN_PER_BATCH
from coordinator.engine.reading import Arrival, BadArrival, read
from coordinator.engine.registry import Registry
from coordinator.kafka.records import Outgoing
from coordinator.saga import machine
from coordinator.services.legibility import KeptRecord
from sagas import definitions
from tests.unit.engine.test_worker import Arrived, Bench

FLOOD = 1_000
STRANGER = Outgoing("saga.inventory.commands", 0, b"01932a7c-0000-7000-8000-000000000001", b"{}", [])


def bad(reason: str, *headers: tuple[str, bytes | None]) -> list[Arrival]:
    """Make a flood of records that cannot be read."""
    record = KeptRecord("saga.replies", 0, 0, b"key", b"{}", headers)
    return [BadArrival(0, number, number + 1, reason, "why", record) for number in range(FLOOD)]


async def set_aside(bench: Bench, arrivals: Sequence[Arrival]) -> Counter[str]:
    """Decide about arrivals; answers how many rows are kept for which reason."""
    decided = await bench.worker._decider.decide(arrivals)
    return Counter(row[1] for row in decided.draft.batch.dead)


def arrivals_of(records: Sequence[Arrived]) -> list[Arrival]:
    """Read records."""
    polled: Any = [(0, records)]
    return read(polled, Registry(definitions), {})


async def test_strangers_cannot_flood_the_table() -> None:
    """Beyond a hundred, unreadable records of a batch share one row, those that reveal a fault of ours too."""
    for reason in ("schema", "internal"):
        assert await set_aside(Bench(), bad(reason)) == {reason: LETTERS_PER_BATCH, "crowd": 1}


async def test_starts_of_a_version_that_is_not_ready_are_kept_each() -> None:
    """They are in order and are sent again by themselves: in a crowd they would be lost to that."""
    assert await set_aside(Bench(), bad("version_not_ready")) == {"version_not_ready": FLOOD}


async def test_replies_that_meet_a_fault_of_ours_are_kept_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """They belong to a saga that exists, and are sent again by themselves."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.worker.land()
    await bench.relay.drain(5)
    replies = arrivals_of([bench.reply(bench.bus.sent[0]) for _ in range(FLOOD)])

    def fail(*_arguments: object, **_more: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(machine, "decide", fail)
    with capture_logs():  # a traceback for each takes its time to print
        assert await set_aside(bench, replies) == {"internal": FLOOD}


async def test_who_only_says_that_a_record_is_a_letter_cannot_flood_the_table() -> None:
    """The header is anybody's to write: such records have a cap of their own, and take no room from the others."""
    claimed = bad("schema", ("saga-redriven", b"12;3"))
    assert await set_aside(Bench(), claimed) == {"schema": REDRIVEN_PER_BATCH, "crowd": 1}
    both = [*claimed, *bad("schema")]
    assert await set_aside(Bench(), both) == {"schema": REDRIVEN_PER_BATCH + LETTERS_PER_BATCH, "crowd": 1}


async def test_a_letter_of_a_saga_that_is_still_unknown_is_set_aside_again() -> None:
    """Of strangers' replies one per second is kept; a letter opens again, or it would be closed for nothing."""
    bench = Bench()
    records = [bench.reply(STRANGER) for _ in range(5)]
    assert await set_aside(bench, arrivals_of(records)) == {"unknown_saga": 1}
    for record in records:
        record.headers = [*record.headers, ("saga-redriven", b"12;3")]
    assert await set_aside(bench, arrivals_of(records)) == {"unknown_saga": 5}
