"""A saga's whole trace, over all processes: request, commands, participants' work, replies, and the way back."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from deploy.local.processes import free_port
from deploy.local.stack import LocalStack
from tests.e2e.collecting import Collected, Collector, collecting
from tests.e2e.definitions import PATIENT
from tests.e2e.orders import ACTIONS, REFUSED, order, undone
from tests.e2e.world import Coordinator, World, eventually
from tests.needs import need_real_kafka

CLIENT = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Give a collector."""
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
async def traced(stack: LocalStack, collector: Collector) -> AsyncIterator[World]:
    """Give participants that trace."""
    need_real_kafka(stack, "static members, several of a group")
    world = TracedWorld(stack, collector.url)
    try:
        await world.open()
        yield world
    finally:
        await world.close()


class TracedWorld(World):
    """A world whose processes all trace, and tell of each transition."""

    def __init__(self, stack: LocalStack, endpoint: str) -> None:
        super().__init__(stack)
        self._endpoint = endpoint

    def environment(self, **settings: str) -> dict[str, str]:
        """Say where spans go."""
        return super().environment(
            **{
                "SAGA_TRACING__ENDPOINT": self._endpoint,
                "SAGA_PARTICIPANT__TRACING_ENDPOINT": self._endpoint,
                "SAGA_LOG__TRANSITIONS": "true",
                **settings,
            }
        )


@pytest.fixture(scope="module")
async def coordinator(traced: World) -> Coordinator:
    """Give a coordinator that traces."""
    return await traced.launched("traced")


async def start(coordinator: Coordinator, traceparent: str | None = None, **changes: Any) -> dict[str, Any]:
    """Start a saga and wait for its end; answers it."""
    headers = {} if traceparent is None else {"traceparent": traceparent}
    body = {"definition": PATIENT, "input": order(**changes)}
    answer = await coordinator.http.post("/v1/sagas", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    saga_id = answer.json()["id"]

    async def has_ended() -> bool:
        return (await coordinator.get(saga_id))["status"] in ("completed", "failed")

    await eventually(has_ended, what="the saga has ended")
    return await coordinator.get(saga_id)


async def trace_of(collector: Collector, saga: dict[str, Any], commands: int) -> list[Collected]:
    """Wait until a saga's trace is whole, with three spans per command besides its root; answers its spans."""
    trace_id = saga["traceparent"][3:35]

    async def is_whole() -> bool:
        return len(collector.of_trace(trace_id)) > 3 * commands

    await eventually(is_whole, what=f"{commands} commands and all that came of them are in the trace")
    return collector.of_trace(trace_id)


def check(spans: list[Collected], commands: list[str], outside: str = "") -> Collected:
    """Check that a trace is one tree with a branch per command, in this order; answers its root."""
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    [root] = [span for span in spans if span.kind == "server"]
    assert root.parent_id == outside
    assert all(span.parent_id in by_id for span in spans if span is not root)
    assert all(span.begin_ns <= span.end_ns for span in spans)
    sent = sorted((span for span in spans if span.kind == "producer"), key=lambda span: span.begin_ns)
    assert [span.attributes["saga.command"] for span in sent] == commands
    for command in sent:
        assert by_id[command.parent_id] is root
        [work] = [span for span in spans if span.parent_id == command.span_id]
        [reply] = [span for span in spans if span.parent_id == work.span_id]
        assert work.service == command.attributes["messaging.destination.name"].split(".")[1]
        assert (work.kind, reply.kind) == ("consumer", "consumer")
        assert work.attributes["messaging.message.id"] == command.attributes["messaging.message.id"]
        assert {span.attributes["saga.step"] for span in (command, work, reply)} == {command.attributes["saga.step"]}
    assert len(spans) == 1 + 3 * len(commands)
    return root


async def test_a_whole_order(coordinator: Coordinator, collector: Collector) -> None:
    """Each step of an order hangs from the request that began it: command, the participant's work, its reply."""
    saga = await start(coordinator)
    spans = await trace_of(collector, saga, len(ACTIONS))
    root = check(spans, ACTIONS)
    assert (root.name, root.service) == ("POST /v1/sagas", "saga-coordinator")
    assert Counter(span.service for span in spans)["payment"] == 1
    batches = [span for span in collector.spans if span.name == "batch" and root.trace_id in span.links]
    assert batches


async def test_an_order_that_is_undone(coordinator: Coordinator, collector: Collector) -> None:
    """The way back is in the same trace, and what was refused is an error."""
    saga = await start(coordinator, **REFUSED[2])
    commands = [*ACTIONS[:3], *undone(1)]
    spans = await trace_of(collector, saga, len(commands))
    check(spans, commands)
    assert Counter("error.type" in span.attributes for span in spans if "shipping" in span.name) == {True: 1, False: 1}


async def test_a_trace_that_a_client_began(coordinator: Coordinator, collector: Collector) -> None:
    """A request that comes with a trace goes on in it."""
    trace_id = secrets.token_hex(16)
    saga = await start(coordinator, f"00-{trace_id}-{CLIENT}-01")
    assert saga["traceparent"][3:35] == trace_id
    check(await trace_of(collector, saga, len(ACTIONS)), ACTIONS, CLIENT)


async def test_what_is_not_to_be_recorded_is_not(coordinator: Coordinator, collector: Collector) -> None:
    """A trace whose client does not want it recorded leaves no span anywhere, and the flag goes with the saga."""
    trace_id = secrets.token_hex(16)
    unwanted = await start(coordinator, f"00-{trace_id}-{CLIENT}-00")
    wanted = await start(coordinator)
    await trace_of(collector, wanted, len(ACTIONS))
    assert unwanted["traceparent"][3:35] == trace_id
    assert unwanted["traceparent"].endswith("-00")
    assert collector.of_trace(trace_id) == []


async def test_a_saga_that_was_asked_for_over_kafka(
    coordinator: Coordinator, collector: Collector, traced: World
) -> None:
    """A start request without a trace begins one, with the taking in of the request at its root."""
    wanted = order()
    await traced.request_starts([wanted])
    saga_id = await traced.saga_of(wanted)
    await traced.until("SELECT status = 'completed' FROM saga WHERE id = $1", saga_id)
    spans = await trace_of(collector, await coordinator.get(saga_id), len(ACTIONS))
    [root] = [span for span in spans if not span.parent_id]
    assert root.name == f"process {traced.prefix}replies"
    assert {span.parent_id for span in spans if span.kind == "producer"} == {root.span_id}


async def test_every_line_of_the_log_is_an_object(coordinator: Coordinator, traced: World) -> None:
    """Whatever happens, each line is one JSON object; those of transitions name the trace and the step's states."""
    saga = await start(coordinator)
    headers = {"x-request-id": "find-me"}
    refused = await coordinator.http.post(f"/v1/sagas/{saga['id']}/retry", content=b"\x1b{", headers=headers)
    assert refused.status_code >= 400
    lines = [json.loads(line) for line in coordinator.child.output().splitlines()]
    assert all(isinstance(line, dict) and {"event", "level", "timestamp"} <= line.keys() for line in lines)
    moved = [line for line in lines if line["event"] == "saga_moved" and line["saga_id"] == saga["id"]]
    assert [line["version"] for line in moved] == list(range(1, saga["version"] + 1))
    assert {line["trace_id"] for line in moved} == {saga["traceparent"][3:35]}
    told = ("step_name", "old_status", "status", "cause", "definition", "old_step_outcome", "step_outcome", "step_undo")
    assert all(set(told) <= line.keys() for line in moved[1:])
    assert moved[1]["old_step_outcome"] == "issued"
    assert moved[1]["step_outcome"] == "completed"


async def test_a_collector_that_is_away_holds_up_nobody(traced: World) -> None:
    """Without a collector sagas run and the process stops in time."""
    nobody = f"http://127.0.0.1:{free_port()}/v1/traces"
    coordinator = await traced.launched("lonely", SAGA_TRACING__ENDPOINT=nobody)
    ids = await coordinator.start_many([order() for _ in range(300)])
    await traced.until(
        "SELECT count(*) = $2 FROM saga WHERE id = ANY($1::uuid[]) AND status = 'completed'", ids, len(ids)
    )
    async with asyncio.timeout(20):
        assert await coordinator.stop() == 0
