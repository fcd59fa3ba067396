"""Commits whose answers are lost are counted all the same, and once."""

from __future__ import annotations

from coordinator.errors import Unavailable
from coordinator.saga.events import SuspendRequested
from coordinator.services.sagas import StartRequest
from coordinator.store.batch import Batch
from coordinator.store.postgres import Committed
from tests.e2e.world import eventually
from tests.integration.api.office import Commit, Office
from tests.integration.api.server import order


async def test_a_start_and_a_verb_that_nobody_heard_of_are_counted_once(office: Office) -> None:
    """Both are committed while the connection breaks: the counters say what the rows say, once the log was asked."""
    wanted = order("unheard")

    async def lose(commit: Commit, batch: Batch) -> Committed:
        await commit(batch)
        raise Unavailable("the connection broke")

    def counted() -> list[float | None]:
        labels = {"saga_type": wanted["definition"]}
        sample = office.metrics.registry.get_sample_value
        return [sample(f"saga_{name}_total", labels) for name in ("started", "suspended")]

    async def is_settled() -> bool:
        await office.observer.settle_doubts(office.store)
        return counted() == [1, 1]

    office.store.around = lose
    saga = (await office.service.start(StartRequest(wanted["definition"], None, wanted["input"]))).saga
    assert counted() == [1, 0]
    await office.service.act(saga.id, saga.version, SuspendRequested("ann", "a test"))
    assert counted() == [1, 0]
    await eventually(is_settled, what="the verb is counted", within_s=10)
    await office.observer.settle_doubts(office.store)
    assert counted() == [1, 1]
