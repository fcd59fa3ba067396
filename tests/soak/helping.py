"""The people of a soak: clients who insist, somebody who approves trips, somebody who repairs what needs a person."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx

from participants.kit.faults import set_fault
from tests.e2e.world import World
from tests.soak.asking import Asker, Wish
from tests.soak.definitions import PARTICIPANTS
from tests.soak.keeping import Keeper

PACE_S = 0.5
AT_ONCE = 6  # wishes at most of one turn
IN_FLIGHT_MAX = 300
AGAIN_S = 0.3
INSIST_S = 120.0
PEOPLE_S = 2.0
TIDY_S = 5.0
CRASH = 0.02  # of the turns in which a participant is told to end itself
PHASES = ("before_commit", "after_commit", "after_publish")

WAITING = """
SELECT s.id::text FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id
WHERE s.resting IS NULL AND d.name LIKE '%TravelBooking'
    AND convert_from(s.state, 'UTF8')::jsonb -> 'steps' -> 3 ->> 'outcome' = 'issued'
"""
IN_FLIGHT = "SELECT count(*) FROM saga WHERE resting IS NULL"
PARKED = "SELECT id::text AS id, business_key, version FROM saga WHERE status = 'suspended' LIMIT 50"


class NotAcknowledged(AssertionError):
    """A client has asked again and again, and was never answered."""


class People:
    """All who talk to the coordinators from outside."""

    def __init__(self, world: World, keeper: Keeper, number: int) -> None:
        self._world = world
        self._keeper = keeper
        self._asker = Asker(number)
        self._dice = random.Random(number + 1)
        self.asking = True
        self.faults: Counter[str] = Counter()
        self.retries = 0
        self.approvals = 0
        self.over_kafka: list[str] = []
        # A coordinator's own client closes with it, in the middle of somebody else's request.
        self._http = httpx.AsyncClient(timeout=10, limits=httpx.Limits(keepalive_expiry=2))

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def ask(self) -> None:
        """Start sagas, over the API and over Kafka, as long as not too many are on their way."""
        while self.asking:
            await asyncio.sleep(PACE_S)
            if await self._world.value(IN_FLIGHT) > IN_FLIGHT_MAX:
                continue
            wishes = [self._asker.wish() for _ in range(self._dice.randint(1, AT_ONCE))]
            for wish in wishes:
                for mishap in wish.mishaps:
                    await set_fault(self._world.url, mishap.participant, mishap.kind, **mishap.what)
                    self.faults[mishap.kind] += 1
            if self._dice.random() < CRASH:
                await self._crash()
            await self._start(wishes)

    async def approve(self) -> None:
        """Answer for the trips that wait for it, in most cases with yes."""
        while True:
            await asyncio.sleep(PEOPLE_S)
            for row in await self._world.rows(WAITING):
                yes = self._dice.random() < 0.8
                verb, body = ("complete", {"result": {"approved_by": "bea"}}) if yes else ("fail", {"code": "too_dear"})
                if await self._post(f"/v1/sagas/{row['id']}/steps/approve_trip/{verb}", body) == 202:
                    self.approvals += 1

    async def repair(self) -> None:
        """Retry what is suspended, once its own faults are out of the way."""
        while True:
            await asyncio.sleep(PEOPLE_S)
            for row in await self._world.rows(PARKED):
                await self._clear(row["business_key"])
                body = {"reason": "the soak's repair", "expected_version": row["version"]}
                if await self._post(f"/v1/sagas/{row['id']}/retry", body) == 202:
                    self.retries += 1

    async def tidy(self) -> None:
        """Remove faults that are used up: participants read the table with each batch."""
        while True:
            await asyncio.sleep(TIDY_S)
            for participant in PARTICIPANTS:
                await self._world.rows(f'DELETE FROM "{participant}".faults WHERE remaining = 0')  # noqa: S608

    async def _clear(self, key: str) -> None:
        for participant in PARTICIPANTS:
            await self._world.rows(f'DELETE FROM "{participant}".faults WHERE match = $1', key)  # noqa: S608

    async def _crash(self) -> None:
        phase = self._dice.choice(PHASES)
        await set_fault(self._world.url, self._dice.choice(PARTICIPANTS), "crash", phase=phase, times=1)
        self.faults["crash"] += 1

    async def _start(self, wishes: Sequence[Wish]) -> None:
        if self._dice.random() < 0.3:
            for wish in wishes:
                await self._world.request_starts([wish.input], wish.definition)
                self.over_kafka.append(wish.key)
            return
        body = {"sagas": [{"definition": wish.definition, "input": wish.input} for wish in wishes]}
        until = asyncio.get_running_loop().time() + INSIST_S
        while not await self._acknowledged(body):
            if asyncio.get_running_loop().time() > until:
                raise NotAcknowledged(f"no coordinator took {[wish.key for wish in wishes]} within {INSIST_S:g} s")
            await asyncio.sleep(AGAIN_S)

    async def _acknowledged(self, body: dict[str, Any]) -> bool:
        """Ask once for some sagas, and remember those that are acknowledged; says whether that are all."""
        try:
            answer = await self._http.post(f"{self._any()}/v1/sagas/bulk", json=body)
        except httpx.HTTPError:
            return False
        if answer.status_code not in (200, 429, 503):
            raise NotAcknowledged(f"{answer.status_code}: {answer.text[:1000]}")
        items: list[dict[str, Any]] = answer.json().get("items", [])
        self._world.saga_ids.update(item["saga"]["id"] for item in items if "saga" in item)
        return bool(items) and all("saga" in item for item in items)

    async def _post(self, path: str, body: dict[str, Any]) -> int:
        """Post something once; 0 when nobody answered. What was not heard of is seen in the rows, and tried again."""
        try:
            return (await self._http.post(f"{self._any()}{path}", json=body)).status_code
        except httpx.HTTPError:
            return 0

    def _any(self) -> str:
        running = self._keeper.alive()
        if not running:
            raise httpx.ConnectError("no coordinator runs at the moment")
        return running[0].url
