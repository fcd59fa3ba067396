"""Streams of real sagas: complete, in order, resumed without gaps or repeats, and no burden to the engine."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import Any

import psutil
import pytest

from tests.e2e.definitions import PATIENT
from tests.e2e.listening import Listener
from tests.e2e.orders import REFUSED, order
from tests.e2e.world import Coordinator, World, eventually

SETTINGS = {"SAGA_STREAMS__CLIENTS_PER_ACTOR_MAX": "300", "SAGA_STREAMS__HEARTBEAT_SECONDS": "0.5"}
STOP_S = 3.0
SAGAS = 600
DEAF = 50
GONE = 50
GOOD = 100
GROWTH_MAX = 80 * 1024 * 1024
_launched: list[Coordinator] = []


@pytest.fixture
async def coordinator(world: World) -> Coordinator:
    """Give a running coordinator, the same for all tests but the one that stops it."""
    if not _launched or _launched[-1].child.exit_code is not None:
        _launched.append(await world.launched(f"streams-{secrets.token_hex(2)}", **SETTINGS))
    return _launched[-1]


async def ended(coordinator: Coordinator, saga_id: str) -> dict[str, Any]:
    """Wait until a saga has ended; answers it."""

    async def has_ended() -> bool:
        return (await coordinator.get(saga_id))["status"] in ("completed", "failed")

    await eventually(has_ended, what=f"{saga_id} has ended")
    return await coordinator.get(saga_id)


def keys(transitions: list[Any]) -> list[tuple[str, int]]:
    """What makes transitions one and the same."""
    return [(each["saga_id"], each["version"]) for each in transitions]


async def test_one_saga_from_its_beginning_to_its_end(coordinator: Coordinator) -> None:
    """The stream of a saga tells each entry of its log once, in order, and ends with the saga."""
    saga_id = await coordinator.start(order(**REFUSED[1]))
    listener = Listener(coordinator.url, f"/v1/sagas/{saga_id}/events")
    async with asyncio.timeout(30):
        await listener.ended.wait()
    saga = await coordinator.get(saga_id)
    told = listener.transitions
    assert [each["version"] for each in told] == [entry["version"] for entry in saga["log"]]
    assert [(each["event"], each["step_name"], each["status"], each["at"]) for each in told] == [
        (entry["event"], entry["step_name"], entry["status"], entry["at"]) for entry in saga["log"]
    ]
    assert [each["old_status"] for each in told] == [None, *(each["status"] for each in told[:-1])]
    assert all(set(each) == set(told[0]) for each in told)
    assert "data" not in told[0]
    assert listener.heard[-1].event == "end"
    assert listener.headers["content-type"] == "text/event-stream"
    assert listener.headers["cache-control"] == "no-store"
    assert listener.headers["x-accel-buffering"] == "no"


async def test_a_saga_is_resumed_behind_an_event(coordinator: Coordinator) -> None:
    """Last-Event-ID begins with the next version; at the end there is nothing to connect for."""
    saga = await ended(coordinator, await coordinator.start(order()))
    target = f"/v1/sagas/{saga['id']}/events"
    listener = Listener(coordinator.url, target, {"last-event-id": "2"})
    async with asyncio.timeout(20):
        await listener.ended.wait()
    assert [each["version"] for each in listener.transitions] == list(range(3, saga["version"] + 1))
    assert listener.transitions[0]["old_status"] == saga["log"][1]["status"]
    done = await coordinator.http.get(target, headers={"last-event-id": str(saga["version"])})
    assert done.status_code == 204


async def test_a_filter_tells_what_fits_and_nothing_else(coordinator: Coordinator) -> None:
    """A stream with a status and a definition has those transitions only; another definition's has none."""
    fitting = Listener(coordinator.url, f"/v1/events?definition={PATIENT}&status=completed&status=failed")
    strange = Listener(coordinator.url, "/v1/events?definition=Nobody")
    await asyncio.gather(fitting.opened(), strange.opened())
    sagas = [await coordinator.start(order()), await coordinator.start(order(**REFUSED[0]))]
    await fitting.until(lambda: len(fitting.transitions) >= len(sagas))
    assert {(each["saga_id"], each["status"]) for each in fitting.transitions} == {
        (sagas[0], "completed"),
        (sagas[1], "failed"),
    }
    await strange.until(lambda: any(heard.event == "comment" for heard in strange.heard))
    assert strange.transitions == []
    await asyncio.gather(fitting.close(), strange.close())


async def test_a_filter_is_resumed_without_gap_or_repeat(coordinator: Coordinator, world: World) -> None:
    """However often a client goes and comes back with the last id, it gets every entry of the log exactly once."""
    first = Listener(coordinator.url, "/v1/events")
    await first.opened()
    begun = await coordinator.start_many([order() for _ in range(50)])
    told: list[tuple[str, int]] = []
    listener = first
    for _ in range(4):
        await listener.until(lambda: len(listener.transitions) >= 20)  # noqa: B023 - awaited at once
        await listener.close()
        told += keys(listener.transitions)
        begun += await coordinator.start_many([order() for _ in range(10)])
        listener = Listener(coordinator.url, "/v1/events", {"last-event-id": listener.last_id})
        await listener.opened()
    await world.rest()
    rows = await world.rows("SELECT saga_id::text, version FROM saga_log WHERE saga_id = ANY($1::uuid[])", begun)
    await listener.until(lambda: len(told) + len(listener.transitions) >= len(rows))
    await listener.close()
    told += keys(listener.transitions)
    mine = [each for each in told if each[0] in set(begun)]
    assert len(set(mine)) == len(mine)
    assert set(mine) == {(row["saga_id"], row["version"]) for row in rows}
    assert not [heard for heard in listener.heard if heard.event == "gap"]


async def test_what_is_too_long_ago_is_said_to_be_missing(coordinator: Coordinator) -> None:
    """A client that was away for longer than the look-back is told so, and gets what lies within."""
    saga = await ended(coordinator, await coordinator.start(order()))
    old = int((time.time() - 3600) * 1_000_000)
    listener = Listener(coordinator.url, "/v1/events", {"last-event-id": f"{old}.1.{saga['id']}"})
    await listener.until(lambda: any(each["saga_id"] == saga["id"] for each in listener.transitions))
    await listener.close()
    assert listener.heard[0].event == "gap"
    assert listener.heard[0].data["from"] < listener.heard[0].data["to"] < saga["created_at"]


@pytest.mark.parametrize("last", ["x", "-1", "1.2", "99999999999999999.1.01890a5d-ac96-774b-bcce-b302099a8057"])
async def test_an_id_of_nobody_is_refused(coordinator: Coordinator, last: str) -> None:
    """A Last-Event-ID that no stream of ours can have sent is 422 and opens nothing."""
    for target in ("/v1/events", f"/v1/sagas/{await coordinator.start(order())}/events"):
        answer = await coordinator.http.get(target, headers={"last-event-id": last})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["header"] == "Last-Event-ID"


async def test_nobody_hears_of_what_is_not_there(coordinator: Coordinator) -> None:
    """The stream of a saga that does not exist is 404; a parameter that nobody knows is 422."""
    nobody = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert (await coordinator.http.get(f"/v1/sagas/{nobody}/events")).status_code == 404
    assert (await coordinator.http.get("/v1/events?colour=red")).status_code == 422
    assert (await coordinator.http.get("/v1/events?status=lost")).status_code == 422


@pytest.mark.timeout(180)
async def test_clients_that_are_deaf_or_gone_cost_nothing(coordinator: Coordinator, world: World) -> None:
    """Of 200 clients 50 never read and 50 vanish: sagas run on, the others hear everything, and memory is bounded."""
    good = [Listener(coordinator.url, "/v1/events") for _ in range(GOOD)]
    await asyncio.gather(*(each.opened() for each in good))
    deaf = [_request(coordinator) for _ in range(DEAF)]
    gone = [_request(coordinator) for _ in range(GONE)]
    process = psutil.Process(coordinator.child.pid)
    before = process.memory_info().rss
    for each in gone:
        each.close()
    begun = await coordinator.start_many([order() for _ in range(SAGAS)])
    await world.rest(90)
    rows = await world.rows("SELECT saga_id::text, version FROM saga_log WHERE saga_id = ANY($1::uuid[])", begun)
    expected = {(row["saga_id"], row["version"]) for row in rows}
    for one in good[::10]:
        await one.until(lambda: expected <= set(keys(one.transitions)), 60)  # noqa: B023 - awaited at once
    assert process.memory_info().rss - before < GROWTH_MAX
    for each in deaf:
        each.close()
    await asyncio.gather(*(one.close() for one in good))
    assert (await coordinator.http.get("/livez")).status_code == 200


async def test_a_process_that_stops_ends_its_streams_at_once(coordinator: Coordinator) -> None:
    """SIGTERM ends every stream in order, also of a client that reads nothing, and the process does not wait."""
    listener = Listener(coordinator.url, "/v1/events")
    await listener.opened()
    deaf = _request(coordinator)
    began = time.monotonic()
    assert await coordinator.stop() == 0
    assert time.monotonic() - began < STOP_S + 2
    async with asyncio.timeout(5):
        await listener.ended.wait()
    assert listener.heard[-1].event == "end"
    assert "Traceback" not in coordinator.child.output()
    deaf.close()


async def test_there_are_only_so_many_streams(world: World) -> None:
    """Beyond the limit a stream is refused with 429 and when to come again; one that ends makes room."""
    coordinator = await world.launched("narrow", "api", SAGA_STREAMS__CLIENTS_PER_ACTOR_MAX="1")
    first = Listener(coordinator.url, "/v1/events")
    await first.opened()
    refused = await coordinator.http.get("/v1/events")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert refused.json()["type"].endswith(":too-many-streams")
    await first.close()

    async def has_room() -> bool:
        second = Listener(coordinator.url, "/v1/events")
        await second.opened()
        await second.close()
        return second.status == 200

    await eventually(has_room, what="there is room again")
    assert await coordinator.stop() == 0


def _request(coordinator: Coordinator) -> socket.socket:
    """Ask for a stream and read nothing of it."""
    connection = socket.create_connection(("127.0.0.1", int(coordinator.url.rpartition(":")[2])))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
    return connection
