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
