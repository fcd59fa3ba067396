"""Counts are exact: whoever moves a saga counts it in the same statement, and folding and recounting change no sum."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from coordinator.api.access import Mode, Principal, Role
from coordinator.api.cursors import Cursors
from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.replaying import Replays
from coordinator.errors import Unavailable
from coordinator.saga.events import AbandonRequested, CompensateRequested, ResumeRequested, SuspendRequested, Verb
from coordinator.services.sagas import Started, StartRequest
from coordinator.settings import ApiSettings
from coordinator.store.batch import Batch
from coordinator.store.postgres import Committed
from coordinator.store.reads import ListFilter
from tests.integration.api.office import Commit, Office, SystemClock
from tests.integration.api.server import order
from tests.unit.api.hall import hall

TALLY = """
SELECT definition_id, status, sum(sagas)::bigint AS sagas FROM saga_tally GROUP BY definition_id, status
HAVING sum(sagas) <> 0 ORDER BY definition_id, status
"""
ROWS = "SELECT definition_id, status, count(*) AS sagas FROM saga GROUP BY definition_id, status ORDER BY 1, 2"
SAGAS = 30


async def test_counts_are_those_of_the_rows_whatever_happens(office: Office) -> None:
    """Starts, verbs, lost answers and lost races at once, while others fold and recount: every sum is right."""
    stop = asyncio.Event()

    async def keep_folding() -> None:
        while not stop.is_set():
            await office.store.fetch("fold_tally")
            await office.store.recount()
            await asyncio.sleep(0)

    losses = iter(range(1_000_000))

    async def unreliable(commit: Commit, batch: Batch) -> Committed:
        number = next(losses)
        if number % 5 == 1:
            raise Unavailable("the connection was lost before it")
        committed = await commit(batch)
        if number % 5 == 3:
            raise Unavailable("the answer was lost")
        return committed

    folding = asyncio.create_task(keep_folding())
    office.store.around = unreliable
    outcomes = await office.service.start_many([_request() for _ in range(SAGAS)])
    ids = [outcome.saga.id for outcome in outcomes if isinstance(outcome, Started)]
    assert len(ids) == SAGAS
    await asyncio.gather(*(_push_around(office, saga_id, number) for number, saga_id in enumerate(ids)))
    stop.set()
    await folding
    assert await _pairs(office, TALLY) == await _pairs(office, ROWS)
    await office.store.fetch("fold_tally")
    assert await _pairs(office, TALLY) == await _pairs(office, ROWS)
    folded = await office.ask("SELECT count(*) = count(DISTINCT (definition_id, status)) AS once FROM saga_tally")
    assert folded[0]["once"]


async def test_a_recount_puts_right_what_nobody_counted(office: Office) -> None:
    """What an older process moved without counting is right again after a recount."""
    started = await office.service.start(_request())
    await office.suspend(started.saga.id)
    assert await _pairs(office, TALLY) != await _pairs(office, ROWS)
    await office.store.recount()
    assert await _pairs(office, TALLY) == await _pairs(office, ROWS)


async def test_a_process_of_the_release_before_may_move_a_suspended_saga(office: Office) -> None:
    """While a release is rolled out it knows nothing of hangs_at: nothing refuses it, and no list shows it."""
    saga = (await office.service.start(_request())).saga
    await office.service.act(saga.id, saga.version, SuspendRequested("ann", "to look"))
    hung = ListFilter(statuses=("suspended",), definition=saga.definition, step="reserve_inventory")
    assert saga.id in {found.id for found in (await office.reads.page(hung, None, 1_000)).sagas}
    await office.ask(
        "UPDATE saga SET version = version + 1, status = 'pending', deadline = now(), wake_at = now() WHERE id = $1",
        saga.id,
    )
    assert saga.id not in {found.id for found in (await office.reads.page(hung, None, 1_000)).sagas}


async def _push_around(office: Office, saga_id: str, number: int) -> None:
    verbs: list[Verb] = [SuspendRequested("ann", "to look"), ResumeRequested("ann", "fine")]
    verbs += [CompensateRequested("ann", "not wanted")] if number % 3 else [AbandonRequested("ann", "given up")]
    for verb in verbs[: 1 + number % 4]:
        [version] = await office.ask("SELECT version FROM saga WHERE id = $1", saga_id)
        try:
            await office.service.act(saga_id, version["version"], verb)
        except Unavailable:
            return


async def _pairs(office: Office, query: str) -> dict[tuple[int, str], int]:
    return {(row["definition_id"], row["status"]): row["sagas"] for row in await office.ask(query)}


def _request() -> StartRequest:
    body = order(f"tally-{secrets.token_hex(8)}")
    return StartRequest(body["definition"], None, body["input"], labels={"suite": "tallies"})


class Scoped:
    """Takes everybody for a service that may know of some definitions only."""

    def __init__(self, *definitions: str) -> None:
        self.definitions = frozenset(definitions)

    mode = Mode.REQUIRED

    async def authenticate(self, scope: Any) -> Principal:  # noqa: ARG002 - nothing of the request matters
        """Answer the service."""
        return Principal("service:shop", Role.SERVICE, self.definitions)


@pytest.fixture
async def known(office: Office) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client that may know of bank transfers only."""
    choreographies = Choreographies()
    app = hall(
        Scoped("BankTransfer"),
        service=office.service,
        replays=Replays(office.store, office.reads, choreographies, SystemClock()),
        choreographies=choreographies,
        reads=office.reads,
        registry=office.registry,
        limits=ApiSettings(),
        cursors=Cursors(b"x" * 32),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def test_who_may_know_of_some_definitions_sees_no_others(office: Office, known: httpx.AsyncClient) -> None:
    """Sagas of other definitions are in no list and no count, and asking for one finds nothing, whatever part of it."""
    saga = (await office.service.start(_request())).saga
    for query in ("", "?status=started", "?label=suite:tallies", f"?business_key={saga.business_key}"):
        assert (await known.get(f"/v1/sagas{query}")).json() == {"sagas": [], "next_cursor": None}
    assert (await known.get("/v1/sagas/counts")).json() == {"counts": [], "total": 0}
    for part in ("", "/log", "/commands", "/timeline"):
        assert (await known.get(f"/v1/sagas/{saga.id}{part}")).status_code == 404
    for part, body in (("complete", {"result": {}}), ("fail", {"code": "no"})):
        answer = await known.post(f"/v1/sagas/{saga.id}/steps/approve/{part}", json=body)
        assert answer.status_code == 404
    definitions = (await known.get("/v1/definitions")).json()["definitions"]
    assert {each["name"] for each in definitions} == {"BankTransfer"}
    assert (await known.get("/v1/definitions/OrderFulfillment/versions/1")).status_code == 404
    refused = await known.post("/v1/sagas", json=order("not-ours"))
    assert refused.status_code == 403
    bulk = (await known.post("/v1/sagas/bulk", json={"sagas": [order("not-ours")]})).json()
    assert [item["problem"]["status"] for item in bulk["items"]] == [403]
