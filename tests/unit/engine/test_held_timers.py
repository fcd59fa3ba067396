"""What is told of timers that are due and may not fire."""

from __future__ import annotations

from typing import Any

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
