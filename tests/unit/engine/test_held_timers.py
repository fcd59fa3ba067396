"""What is told of timers that are due and may not fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.engine.timers import Timers
from tests.unit.engine.test_worker import Bench, RealClock, _started

HOUR_S = 3_600


async def test_a_held_timer_has_waited_since_it_was_due_whoever_took_its_partition() -> None:
    """A partition that is given up and taken anew, again and again, does not make a timer look young."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.worker.land()
    [active] = [found for found in map(bench.cache.get, _started(bench)) if found is not None]
    bench.pass_an_hour()
    nowhere: Any = bench.inbox
    store: Any = bench.store
    for _ in range(2):  # each owner begins with nothing
        timers = Timers(store, nowhere, RealClock(), bench.now, bench.cache)
        assert timers.held_s == 0
        timers.arm(active, active.saga.waking_ms)
        overdue_s = (bench.now.now_ms() - (active.saga.waking_ms or 0)) / 1000
        assert overdue_s > HOUR_S / 2
        assert timers.due(bench.ownership.owned) == []  # nobody has asked Kafka how far there is to read
        assert (timers.held, round(timers.held_s)) == (1, round(overdue_s))


async def test_a_saga_whose_command_is_unsent_waits_with_its_deadline_and_holds_up_nobody() -> None:
    """Its deadline begins anew; the timers of the others happen in the same pass."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start("a"), bench.start("b")])])
    await bench.worker.land()
    ready = [active for active in map(bench.cache.get, _started(bench)) if active is not None]
    bench.store.unsent = {ready[0].id}
    bench.pass_an_hour()
    bench.let_through(ready)
    await bench.worker._fire(ready)
    events = {row[0]: row[3] for batch in bench.store.batches[1:] for row in batch.logs}
    assert events == {ready[0].id: "PublicationDelayed", ready[1].id: "DeadlinePassed"}


class MovedOn:
    """A store whose row somebody else has written: it is due, at another version than memory has."""

    def __init__(self, version: int) -> None:
        self.version = version

    async def push_wake(self, seen: Mapping[str, int]) -> list[str]:
        return [saga_id for saga_id, version in seen.items() if version != self.version]


@pytest.mark.parametrize("waits_forever", [True, False])
async def test_a_saga_that_wakes_before_its_time_is_read_anew_if_its_row_has_moved_on(*, waits_forever: bool) -> None:
    """An operator has acted and the notice of it was lost: memory must not hide what the saga waits for now."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.worker.land()
    [active] = [found for found in map(bench.cache.get, _started(bench)) if found is not None]
    if waits_forever:
        steps = tuple(replace(step, deadline_ms=None) for step in active.saga.steps)
        active.saga = replace(active.saga, steps=steps, expires_ms=None)
    nowhere: Any = bench.inbox
    for version, kept in ((active.saga.version, active), (active.saga.version + 1, None)):
        store: Any = MovedOn(version)
        timers = Timers(store, nowhere, RealClock(), bench.now, bench.cache)
        await timers.take_up([active.id])
        assert bench.cache.get(active.id) is kept
        assert timers.pending == 0
