"""One coordinator with everything: engine, API, keys, participants beside it, and a test that can be any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from deploy.local.stack import LocalStack
from tests.catalogue.definitions import NARROW
from tests.e2e.world import World, event_headers
from tests.integration.api.guarded import Guarded, saga
from tests.integration.api.routes import World as Routes
from tests.integration.api.routes import look_up
from tests.integration.api.server import Answer, Api
from tests.integration.engine.bench import Bench

SETTINGS = {
    "SAGA_API__AUTHENTICATION": "required",
    # Whoever is refused a thousand times is not made to wait: the refusals are what is looked at.
    "SAGA_API__RATE_PER_SECOND": "0",
    "SAGA_API__FAILURES_BURST": "1000000",
    "SAGA_API__BODY_TIMEOUT_SECONDS": "1",
    "SAGA_FLOW__PARTICIPANTS": f'{{"{NARROW}": 1}}',
}


class _World(World):
    """A world whose coordinator observes a choreography as well."""

    def environment(self, **settings: str) -> dict[str, str]:
        """Name the choreography."""
        return super().environment(SAGA_CHOREOGRAPHIES="tests.catalogue.definitions:choreographies", **settings)


class Stage:
    """A running coordinator and all ways to speak with it."""

    guarded: Guarded
    routes: Routes
    pid: int

    def __init__(self, stack: LocalStack) -> None:
        self.world: World = _World(stack, "tests.catalogue.definitions:definitions")
        self.bench = Bench(self.world)

    async def open(self) -> None:
        """Start participants and the coordinator; make a key for each role."""
        await self.world.open()
        await self.bench.open("all", **SETTINGS)
        await self.bench.allow_any_record(self.events_topic)
        self.pid = self.bench.engine.child.pid
        environment = self.world.environment()
        made = await asyncio.to_thread(saga, environment, "keys", "bootstrap", "root")
        assert made.returncode == 0, made.stderr
        token = made.stdout.strip()
        api = Api(self.bench.engine.child, self.bench.engine.url, environment)
        self.guarded = await asyncio.to_thread(Guarded, api, token)
        self.bench.engine.http.headers["authorization"] = f"Bearer {token}"

    async def look_up(self, saga_id: str) -> None:
        """Ask the API for its routes; `saga_id` is one that there is."""
        self.routes = await asyncio.to_thread(look_up, self.guarded, saga_id)

    async def close(self) -> None:
        """End everything."""
        await self.world.close()

    async def send_participants_home(self) -> None:
        """End the participants: whatever is asked from now on waits."""
        children = self.world.participants.values()
        await asyncio.gather(*(asyncio.to_thread(child.stop) for child in children))

    async def call_participants_back(self) -> None:
        """Start the participants again."""
        children = [self.world.start_participant(name) for name in list(self.world.participants)]
        waits = (asyncio.to_thread(child.wait_for_line, r"(?m)^ready$", timeout_s=60) for child in children)
        await asyncio.gather(*waits)

    async def post(self, target: str, body: Any, *, headers: Mapping[str, str] | None = None) -> Any:
        """Do something as the administrator; answers what came back."""
        answer: Answer = await asyncio.to_thread(self.guarded.post, target, body, "admin", headers)
        assert answer.status < 300, answer.body
        return answer.json

    async def get(self, target: str) -> Any:
        """Look at something as the administrator."""
        answer = await asyncio.to_thread(self.guarded.get, target)
        assert answer.status == 200, answer.body
        return answer.json

    @property
    def events_topic(self) -> str:
        """Where the shop of the choreography publishes what happens."""
        return f"{self.world.prefix}shop.events"

    async def say(self, order: Mapping[str, Any], part: int | None = None) -> None:
        """Publish that an order was made, as the shop does; in some partition, or in this one."""
        producer = await self.world.producer()
        headers = event_headers("OrderCreated", "shop", ce_subject=order["order_id"])
        key, value = order["order_id"].encode(), msgspec.json.encode(order)
        await producer.send_and_wait(self.events_topic, value, key=key, headers=headers, partition=part)
