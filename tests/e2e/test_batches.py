"""A bulk retry whose coordinator is killed in the middle of it, and again: every saga is done once all the same."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.e2e.definitions import PATIENT
from tests.e2e.orders import order
from tests.e2e.world import Coordinator, World, eventually

BATCHES = "/v1/batch-operations"
SAGAS = 400
SEED = 20_261_126
RATE = 100
KILLS = (0.2, 0.6)  # after so much of the work


async def begin(coordinator: Coordinator, verb: str, status: list[str], rate: int) -> str:
    """Make a dry run and confirm it; answers the operation's id."""
    asked: dict[str, Any] = {"verb": verb, "filter": {"status": status, "definition": PATIENT}}
    dry = (await coordinator.http.post(BATCHES, json={**asked, "dry_run": True})).json()
    assert dry["count"] == SAGAS
    confirmed = {"dry_run": False, "confirmation": dry["confirmation"], "reason": "as on call", "rate": rate}
    answer = await coordinator.http.post(BATCHES, json={**asked, **confirmed})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def done(coordinator: Coordinator, operation_id: str, share: float = 1.0) -> dict[str, Any]:
    """Wait until so much of an operation is done; answers its counts."""
    found: dict[str, Any] = {}

    async def enough() -> bool:
        found.update((await coordinator.http.get(f"{BATCHES}/{operation_id}")).json())
        return found["counts"]["left"] <= SAGAS * (1 - share) and (share < 1 or found["state"] == "done")

    await eventually(enough, within_s=60, what=f"{share:.0%} of the operation")
    return dict(found["counts"])


@pytest.mark.timeout(240)
async def test_a_bulk_retry_survives_its_coordinator(world: World) -> None:
    """400 suspended sagas, two times SIGKILL in the middle of their retry: one act each, and all are fulfilled."""
    dice = random.Random(SEED)
    coordinator = await world.launched("first")
    await world.fault("inventory", "silent")
    world.saga_ids.update(await coordinator.start_many([order() for _ in range(SAGAS)], PATIENT))
    await done(coordinator, await begin(coordinator, "suspend", ["started", "pending"], 1000))
    await world.until("SELECT count(*) = 400 FROM saga WHERE status = 'suspended'")
    await world.mend()

    operation_id = await begin(coordinator, "retry", ["suspended"], RATE)
    for number, share in enumerate(KILLS):
        counts = await done(coordinator, operation_id, share)
        assert counts["left"] > 0
        await asyncio.sleep(dice.uniform(0, 0.3))
        await coordinator.kill()
        coordinator = await world.launched(f"again-{number}")
    counts = await done(coordinator, operation_id)
    assert counts == {"total": SAGAS, "done": SAGAS, "refused": 0, "failed": 0, "left": 0}

    acts = await world.rows(
        "SELECT count(*) AS acts, count(DISTINCT saga_id) AS sagas FROM audit_log WHERE request_id = $1",
        f"batch:{operation_id}",
    )
    assert tuple(acts[0]) == (SAGAS, SAGAS)
    await world.check(within_s=60, count=SAGAS)
    assert await world.value("SELECT count(*) FROM saga WHERE status = 'completed'") == SAGAS
