"""Everything at once: records and requests in one shuffled order, and what came back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.catalogue.shots import Call, Shot
from tests.catalogue.stage import Stage
from tests.e2e.orders import order
from tests.e2e.world import PARTITIONS
from tests.integration.api.server import Answer
from tests.integration.engine.batches import flood
from tests.integration.engine.bench import PATIENCE_S, Target

AT_ONCE = 4  # requests in flight
READ_S = 180.0  # for all records, of which the flood is nearly all


@dataclass
class Sent:
    """What was sent: records with their offsets, requests with their answers, and what is no HTTP with what it got."""

    records: list[tuple[Shot, int]]
    requests: list[tuple[Call, Answer]]
    noise: dict[str, bytes]
    observed: set[str]

    @property
    def answered(self) -> set[str]:
        """The sagas that a request began, because a change had made it a good one."""
        return {saga_id for _, answer in self.requests for saga_id in _begun(answer)}


async def rage(
    stage: Stage,
    shots: Sequence[Shot],
    calls: Sequence[Call],
    noise: Mapping[str, tuple[bytes, int]],
    flooded: Target,
    dice: random.Random,
) -> Sent:
    """Send all of it in an order that the dice decide, beside a flood; returns when it was answered and consumed.

    What is bad for the topic of replies is bad for a topic of events, so that gets it as well.
    """
    everything: list[Shot | Call | str] = [*shots, *calls, *noise]
    dice.shuffle(everything)
    free = asyncio.Semaphore(AT_ONCE)
    records: list[tuple[Shot, asyncio.Task[int]]] = []
    requests: list[tuple[Call, asyncio.Task[Answer]]] = []
    noises: dict[str, asyncio.Task[bytes]] = {}
    async with asyncio.TaskGroup() as group:
        group.create_task(flood(stage.bench, flooded))
        for one in everything:
            if isinstance(one, Shot):
                records.append((one, group.create_task(_produce(stage, one))))
                group.create_task(_produce(stage, one, stage.events_topic))
                continue
            await free.acquire()
            if isinstance(one, Call):
                asked = group.create_task(asyncio.to_thread(_ask, stage, one))
                requests.append((one, asked))
                asked.add_done_callback(lambda _: free.release())
            else:
                made = noises[one] = group.create_task(asyncio.to_thread(stage.guarded.api.raw, noise[one][0]))
                made.add_done_callback(lambda _: free.release())
    for part, end in (await stage.world.end_offsets()).items():
        await stage.bench.consumed(part, end - 1, within_s=READ_S)
    return Sent(
        [(shot, task.result()) for shot, task in records],
        [(call, task.result()) for call, task in requests],
        {name: task.result() for name, task in noises.items()},
        {await _observed_behind_it(stage, part) for part in range(PARTITIONS)},
    )


async def _produce(stage: Stage, shot: Shot, topic: str | None = None) -> int:
    [offset] = await stage.bench.send(shot.target.part, shot.raw, topic=topic)
    return offset


async def _observed_behind_it(stage: Stage, part: int) -> str:
    """Begin a saga that is observed with a good event behind all the bad ones of a partition; answers its id."""
    seen = order()
    await stage.say(seen, part)
    return await stage.world.saga_of(seen, PATIENCE_S)


def _ask(stage: Stage, call: Call) -> Answer:
    return stage.guarded.api.send(call.method, call.target, call.body, call.headers)


def _begun(answer: Answer) -> list[str]:
    if answer.status not in (200, 201) or answer.content_type != "application/json":
        return []
    said = answer.json
    if answer.headers.get("location", "").startswith("/v1/sagas/"):
        return [said["id"]]
    return [item["saga"]["id"] for item in said.get("items", []) if "saga" in item]
