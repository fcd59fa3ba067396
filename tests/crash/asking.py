"""A client that asks the API, hears nothing because the coordinator was killed, and asks the same again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.crash.definitions import ONWARD
from tests.crash.runs import COMPENSATING, Run, ending, orders_of
from tests.crash.stage import COORDINATOR, Stage
from tests.e2e.definitions import PATIENT
from tests.e2e.world import Coordinator

KEY: Final = "Idempotency-Key"
IN_FLIGHT: Final = 409
TRIES_MAX: Final = 3
BEFORE: Final = frozenset({"A0", "A1", "A3", "B0", "B3"})  # nothing can have been written there

# A claim without an answer is taken over after half a minute: let that have passed.
_LATER = "UPDATE idempotency_key SET claimed_at = claimed_at - interval '31 seconds' WHERE key = $1"
_SAGAS = "SELECT id::text FROM saga WHERE business_key = $1"
# How often the audit, and how often the log says that it was retried: at one moment, for a statement may still run.
_RETRIED = """
SELECT (SELECT count(*) FROM audit_log WHERE saga_id = $1::uuid AND action = 'retry' AND outcome = 'done'),
    (SELECT count(*) FROM saga_log WHERE saga_id = $1::uuid AND event = 'RetryRequested')
"""
_SUSPENDED = "SELECT count(*) = $2 FROM saga WHERE business_key = ANY($1) AND status = 'suspended'"


class Request:
    """One request, with a key of its own."""

    def __init__(self, path: str, body: Mapping[str, Any]) -> None:
        self._path = path
        self._body = body
        self._key = f"crash-{secrets.token_hex(8)}"

    async def send(self, coordinator: Coordinator) -> httpx.Response | None:
        """Ask; None when nobody answers."""
        try:
            return await coordinator.http.post(self._path, json=self._body, headers={KEY: self._key})
        except httpx.TransportError:
            return None

    async def succeed(self, coordinator: Coordinator) -> httpx.Response:
        """Ask, and hear that it was done."""
        answer = await self.send(coordinator)
        assert answer is not None, "nobody has answered"
        assert answer.is_success, answer.text
        return answer

    async def insist(self, stage: Stage, coordinator: Coordinator) -> httpx.Response:
        """Ask until it is done, as a client does that was told to ask again."""
        refused = ""
        for _ in range(TRIES_MAX):
            answer = await self.send(coordinator)
            assert answer is not None, "nobody has answered"
            if answer.is_success:
                return answer
            refused = answer.text
            assert answer.status_code == IN_FLIGHT, refused
            await stage.rows(_LATER, self._key)
        raise AssertionError(f"refused for ever: {refused}")


async def play_start(stage: Stage, run: Run) -> None:
    """The coordinator dies while a client starts a saga; asked again, it tells of the only one."""
    async with stage.run(run):
        coordinator = await stage.up()
        stage.arm(COORDINATOR, run.armed)
        orders = orders_of(run.way, run.hit)
        stage.expect(orders, ending(run.way))
        requests = [Request("/v1/sagas", {"definition": PATIENT, "input": one}) for one in orders]
        for request in requests[:-1]:
            await request.succeed(coordinator)
        assert await requests[-1].send(coordinator) is None
        stage.arm(COORDINATOR, None)
        await stage.died(coordinator.child, run.armed)
        key = orders[-1]["order_id"]
        written = await stage.rows(_SAGAS, key)
        assert len(written) <= 1
        if run.point in BEFORE:
            assert not written
        coordinator = await stage.up()
        stage.took.reached("back")
        for _ in range(2):
            answer = await requests[-1].insist(stage, coordinator)
            [saga] = await stage.rows(_SAGAS, key)
            assert answer.json()["id"] == saga["id"]
            assert not written or written[0]["id"] == saga["id"]


async def play_verb(stage: Stage, run: Run) -> None:
    """The coordinator dies while an operator retries a suspended saga; asked again, it was done once, and says so."""
    async with stage.run(run):
        coordinator = await stage.up()
        sagas = await _suspended(stage, run)
        stage.arm(COORDINATOR, run.armed)
        requests = []
        for saga_id in sagas:
            seen = await coordinator.get(saga_id)
            body = {"reason": "the participant is well again", "expected_version": seen["version"]}
            requests.append(Request(f"/v1/sagas/{saga_id}/retry", body))
        for request in requests[:-1]:
            await request.succeed(coordinator)
        assert await requests[-1].send(coordinator) is None
        stage.arm(COORDINATOR, None)
        await stage.died(coordinator.child, run.armed)
        retried = await _retried(stage, sagas[-1])
        assert retried in ((0, 0), (1, 1))
        if run.point in BEFORE:
            assert retried == (0, 0)
        coordinator = await stage.up()
        stage.took.reached("back")
        for _ in range(2):
            await requests[-1].insist(stage, coordinator)
            assert await _retried(stage, sagas[-1]) == (1, 1)


async def _retried(stage: Stage, saga_id: str) -> tuple[int, int]:
    [(audited, logged)] = await stage.rows(_RETRIED, saga_id)
    return audited, logged


async def _suspended(stage: Stage, run: Run) -> list[str]:
    """Bring sagas, as many as the hit says, to where they need an operator; what hindered them is mended."""
    orders = orders_of(run.way, run.hit)
    stage.expect(orders, ending(run.way))
    for one in orders:
        customer = one["customer_id"]
        if run.way == COMPENSATING:
            await stage.fault("payment", "fail_undo", command="RefundPayment", match=customer)
        else:
            await stage.fault("shipping", "retry", command="CreateShipment", match=customer)
    await stage.request_starts(orders, PATIENT if run.way == COMPENSATING else ONWARD)
    keys = [one["order_id"] for one in orders]
    await stage.until(_SUSPENDED, keys, len(keys))
    await stage.mend()
    return [await stage.saga_of(one) for one in orders]
