"""Far too many starts at once: they are told to come again, and nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from deploy.local.stack import LocalStack
from tests.e2e.definitions import PATIENT, hasty
from tests.e2e.orders import order
from tests.e2e.world import World
from tests.integration.api.guarded import saga
from tests.needs import need_real_kafka

pytestmark = pytest.mark.timeout(300)

STARTS = 1_000
AT_ONCE = 50
IN_PROGRESS = 20
SHARE_S = 15.0
LIMITS = {"SAGA_API__RATE_PER_SECOND": "2", "SAGA_API__RATE_BURST": "20"}
ENDED = "SELECT count(*) = $3 FROM saga WHERE business_key = ANY($1) AND status = $2"


@pytest.fixture
async def world(stack: LocalStack) -> AsyncIterator[World]:
    """Give participants and topics."""
    need_real_kafka(stack, "static members")
    world = World(stack)
    try:
        await world.open()
        yield world
    finally:
        await world.close()


async def test_sagas_in_progress_keep_their_share(world: World) -> None:
    """While a thousand starts are refused by their rate, commands go out, replies are applied, and timers fire."""
    coordinator = await world.launched("coordinator", **LIMITS)
    made = await asyncio.to_thread(saga, world.environment(), "keys", "bootstrap", "masses", "--role", "service")
    assert made.returncode == 0, made.stderr
    await world.fault("payment", "silent", command="ProcessPayment", match="unanswered")
    async with httpx.AsyncClient(
        base_url=coordinator.url,
        headers={"authorization": f"Bearer {made.stdout.strip()}"},
        timeout=30,
        limits=httpx.Limits(max_connections=AT_ONCE),
    ) as masses:
        pressing = asyncio.create_task(_press(masses))
        done, late = ([order(customer_id=name) for _ in range(IN_PROGRESS)] for name in ("answered", "unanswered"))
        await world.request_starts(done, PATIENT)
        await world.request_starts(late, hasty("process_payment"))
        for orders, status in ((done, "completed"), (late, "failed")):
            keys = [each["order_id"] for each in orders]
            await world.until(ENDED, keys, status, IN_PROGRESS, within_s=SHARE_S)
        answers = await pressing
    assert answers.keys() == {201, 429}
    assert answers[429] > STARTS / 2
    await world.mend()
    await world.check(90, count=answers[201] + 2 * IN_PROGRESS)


async def _press(masses: httpx.AsyncClient) -> Counter[int]:
    """Ask for a thousand sagas, fifty at a time; answers the statuses. A refusal says when to come again."""
    statuses: Counter[int] = Counter()
    wanted = iter([order() for _ in range(STARTS)])

    async def ask() -> None:
        for one in wanted:
            answer = await masses.post("/v1/sagas", json={"definition": PATIENT, "input": one})
            assert answer.status_code != 429 or int(answer.headers["retry-after"]) >= 1
            statuses[answer.status_code] += 1

    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return statuses
