"""No act without its entry in the audit, and no entry without its act: whatever fails, and whoever dies when."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from coordinator.engine.letters import headers_json
from coordinator.errors import Unavailable
from coordinator.observability.metrics import Metrics
from coordinator.saga import events
from coordinator.saga.events import ExternalCompleted, ExternalFailed, Failure, Verb
from coordinator.services.letters import LetterService
from coordinator.services.sagas import StartRequest
from coordinator.store.letters import LetterReads
from deploy.local.processes import Child, http_ok
from deploy.local.stack import LocalStack
from deploy.local.waiting import run_async
from tests.e2e.world import event_headers
from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.office import Office
from tests.integration.api.server import RUN, STARTED, Api, order, start_api
from tests.integration.api.test_answers import waiting
from tests.integration.api.test_retry import SUSPEND
from tests.integration.api.test_verbs import VERBS, suspended

WHO = ("anna", "seen at three in the morning")
REQUEST = "request-1"
Act = Callable[[], Awaitable[object]]
Owner = Callable[[str], Awaitable[Any]]
# Everything that an act may write.
DIGEST = """
SELECT md5(concat_ws(
    '|',
    (SELECT string_agg(s::text, ',' ORDER BY s.id) FROM saga AS s),
    (SELECT string_agg(l::text, ',' ORDER BY l.saga_id, l.version) FROM saga_log AS l),
    (SELECT string_agg(o::text, ',' ORDER BY o.saga_id, o.saga_version) FROM outbox AS o),
    (SELECT string_agg(i::text, ',' ORDER BY i.saga_id, i.saga_version) FROM incident AS i),
    (SELECT string_agg(d::text, ',' ORDER BY d.id) FROM dead_letter AS d),
    (SELECT string_agg(a::text, ',' ORDER BY a.id) FROM audit_log AS a)
))
"""
LAST = "SELECT * FROM audit_log ORDER BY id DESC LIMIT 1"
LETTER = """
INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset, key, value,
                         value_length, headers, complete)
SELECT 'record', 'internal', '', 'here', $1, 0, n, n + 1, $2, $3::bytea, octet_length($3::bytea), $4, true
FROM (SELECT count(*) AS n FROM dead_letter) AS letters RETURNING id
"""
FAULTS = {
    "the right is missing": ("REVOKE INSERT ON audit_log FROM saga_app", "GRANT INSERT ON audit_log TO saga_app"),
    "the table takes nothing": (
        "ALTER TABLE audit_log ADD CONSTRAINT nothing_is_taken_any_more CHECK (false) NOT VALID",
        "ALTER TABLE audit_log DROP CONSTRAINT nothing_is_taken_any_more",
    ),
}
KILLS = 4
HELD = 12


class DeadBus:
    """A bus on which nothing goes out; acts must not depend on it."""

    healthy = False

    async def publish(self, _: object) -> Any:
        """Be away."""
        raise Unavailable("Kafka does not answer")


def owner_url(stack: LocalStack, office: Office) -> str:
    """The owner's URL of an office's database."""
    return stack.postgres.url(urlsplit(office.url).path.removeprefix("/"))


@pytest.fixture
async def owner(stack: LocalStack, office: Office) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Give a connection of the owner of the office's database."""
    connection = await asyncpg.connect(owner_url(stack, office))
    yield connection
    await connection.close()


async def verb_on(office: Office, verb: Verb) -> Act:
    """Prepare a verb."""
    saga_id, version = await suspended(office)
    if isinstance(verb, events.SuspendRequested):
        saga = await office.service.act(saga_id, version, events.ResumeRequested(*WHO))
        version = saga.version
    return lambda: office.service.act(saga_id, version, verb, REQUEST)


async def answer_to(office: Office, answer: ExternalCompleted | ExternalFailed) -> Act:
    """Prepare an answer from outside."""
    saga_id = await waiting(office)
    return lambda: office.service.answer(saga_id, answer, REQUEST)


async def letter_act(office: Office, name: str) -> Act:
    """Prepare an act on a dead letter."""
    bus: Any = DeadBus()
    service = LetterService(
        office.store, LetterReads(office.reads), bus, office.topology, office.registry, Metrics(), "here", _gone
    )
    saga_id = str((await office.service.start(_start())).saga.id)
    headers = headers_json(event_headers("SagaTouched", "saga-coordinator", ce_subject=saga_id))
    value = msgspec.json.encode({"saga_id": saga_id})
    [row] = await office.ask(LETTER, office.topology.replies, saga_id.encode(), value, headers)
    if name == "redrive":
        return lambda: service.redrive(row["id"], *WHO, request_id=REQUEST)
    return lambda: service.discard(row["id"], *WHO, request_id=REQUEST)


ANSWERS: dict[str, ExternalCompleted | ExternalFailed] = {
    "complete_step": ExternalCompleted("approve_trip", "anna", msgspec.Raw(b'{"approved_by":"anna"}')),
    "fail_step": ExternalFailed("approve_trip", "anna", Failure("too_dear", WHO[1])),
}
MAKERS: dict[str, Callable[[Office], Awaitable[Act]]] = {
    **{type(verb).__name__: partial(verb_on, verb=verb) for verb in (*VERBS, events.SuspendRequested(*WHO))},
    **{name: partial(answer_to, answer=answer) for name, answer in ANSWERS.items()},
    **{name: partial(letter_act, name=name) for name in ("redrive", "discard")},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", MAKERS)
async def test_what_cannot_be_audited_is_not_done(office: Office, owner: Any, name: str, fault: str) -> None:
    """When its entry cannot be written an act changes nothing at all; when it can again, the same act is done."""
    act = await MAKERS[name](office)
    before = await owner.fetchval(DIGEST)
    breaks, mends = FAULTS[fault]
    await owner.execute(breaks)
    try:
        with pytest.raises(Exception, match=r"Postgres refuses|23514|permission denied"):
            await act()
        assert await owner.fetchval(DIGEST) == before
    finally:
        await owner.execute(mends)
    await act()
    assert (await owner.fetchrow(LAST))["request_id"] == REQUEST


@pytest.mark.parametrize("name", MAKERS)
async def test_an_act_says_who_what_why_before_and_after(office: Office, owner: Any, name: str) -> None:
    """The entry of each kind of act has them all, with the request, and they are those of the row that it changed."""
    act = await MAKERS[name](office)
    await act()
    row = await owner.fetchrow(LAST)
    assert (row["actor"], row["request_id"], row["outcome"]) == ("anna", REQUEST, "done")
    assert row["reason"] == ("answered from outside" if name == "complete_step" else WHO[1])
    assert row["action"] == name.removesuffix("Requested").lower()
    before, after = json.loads(row["state_before"]), json.loads(row["state_after"])
    if row["letter_id"] is not None:
        tries = 1 if name == "redrive" else 0
        assert before == {"state": "open", "reason": "internal", "tries": 0}
        edited = {"edited": False} if name == "redrive" else {}
        state = "redriven" if name == "redrive" else "discarded"
        assert after == {"state": state, "reason": "internal", "tries": tries, **edited}
        return
    saga = await owner.fetchrow("SELECT status, version FROM saga WHERE id = $1", row["saga_id"])
    assert after == {"status": saga["status"], "version": saga["version"]}
    assert before["version"] == row["version_before"] == saga["version"] - 1
    assert row["version_after"] == saga["version"]
    logged = await owner.fetchval(
        "SELECT status FROM saga_log WHERE saga_id = $1 AND version = $2", row["saga_id"], before["version"]
    )
    assert before["status"] == logged


async def test_a_start_is_no_act_of_an_operator(office: Office, owner: Any) -> None:
    """A saga's beginning is in its log, not in the audit."""
    entries = await owner.fetchval("SELECT count(*) FROM audit_log")
    saga = (await office.service.start(_start())).saga
    assert await owner.fetchval("SELECT count(*) FROM audit_log") == entries
    assert await owner.fetchval("SELECT event FROM saga_log WHERE saga_id = $1", saga.id) == "SagaStarted"


@contextmanager
def broken(api: Api, fault: str) -> Iterator[None]:
    """Let no entry be written for a while."""
    breaks, mends = FAULTS[fault]
    api.fetch(breaks)
    try:
        yield
    finally:
        api.fetch(mends)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_act_that_cannot_be_audited_is_a_problem_and_no_act(api: Api, fault: str) -> None:
    """The client gets problem+json, 503 or 500, and nothing has changed; reads go on, and the act is done later."""
    saga = api.post(SAGAS, order(f"unaudited-{secrets.token_hex(4)}")).json
    api.fetch(SUSPEND, saga["id"])
    before = api.digest()
    body = {"reason": "the warehouse is back", "expected_version": 2}
    with broken(api, fault):
        answer = api.post(f"{SAGAS}/{saga['id']}/retry", body)
        assert answer.status in (500, 503), answer.body
        assert answer.content_type == "application/problem+json"
        assert api.digest() == before
        assert api.get(f"{SAGAS}/{saga['id']}").json["version"] == 2
        # The statement of every batch names the audit, so without the right to it nothing at all moves.
        begun = api.post(SAGAS, order(f"unaudited-{secrets.token_hex(4)}")).status
        assert begun == (503 if fault == "the right is missing" else 201)
    assert api.post(f"{SAGAS}/{saga['id']}/retry", body).status == 202


def test_an_act_has_one_line_in_the_log(api: Api) -> None:
    """After its commit, with who, what, why and the request; no other act or refusal is told there twice."""
    saga = api.post(SAGAS, order(f"told-{secrets.token_hex(4)}")).json
    api.fetch(SUSPEND, saga["id"])
    body = {"reason": "the warehouse is back", "expected_version": 2}
    assert api.post(f"{SAGAS}/{saga['id']}/retry", body, {"x-request-id": "told-1"}).status == 202
    api.child.wait_for_line("told-1", timeout_s=10)
    [line] = [json.loads(line) for line in api.child.output().splitlines() if "told-1" in line and "audited" in line]
    said = {name: line[name] for name in ("event", "actor", "action", "outcome", "reason", "saga_id", "request_id")}
    assert said == {
        "event": "audited",
        "actor": "anonymous",
        "action": "retry",
        "outcome": "done",
        "reason": body["reason"],
        "saga_id": saga["id"],
        "request_id": "told-1",
    }
    assert (line["version_before"], line["version_after"]) == (2, 3)
    assert (line["status_before"], line["status_after"]) == ("suspended", "pending")


def test_who_could_change_the_audit_is_warned(api: Api, stack: LocalStack) -> None:
    """A process that runs as the owner says so in its log, and serves; one with a role of its own says nothing."""
    assert "runs_as_owner_of_the_database" not in api.child.output()
    mighty = {**api.environment, "SAGA_DATABASE__URL": api.database_url}
    child = stack.processes.python(f"mighty-{secrets.token_hex(4)}", *RUN, "serve", "--role", "api", environment=mighty)
    try:
        child.wait_for_line("runs_as_owner_of_the_database", timeout_s=60)
        url = child.wait_for_line(STARTED, timeout_s=30)[1]
        child.wait_until(http_ok(f"{url}/readyz"), timeout_s=60, what="ready")
    finally:
        child.stop()


def test_a_kill_leaves_act_and_entry_or_neither(stack: LocalStack) -> None:
    """SIGKILL at random moments while a dozen acts are done: whatever was done has one entry, and nothing else has."""
    mark = secrets.token_hex(4)
    database, dice = f"killed_{mark}", random.Random(mark)
    api = start_api(stack, f"killed-{mark}", database, f"killed{mark}.")
    url, child, ids = api.url, api.child, []
    try:
        for number in range(KILLS):
            held = [_held(api) for _ in range(HELD)]
            ids += held
            hands = [threading.Thread(target=_press, args=(api, saga_id)) for saga_id in held]
            for hand in hands:
                hand.start()
            _strike(api, child, dice.randrange(HELD - 1), held)
            for hand in hands:
                hand.join(60)
            child = stack.processes.python(
                f"killed-{mark}-{number}", *RUN, "serve", "--role", "api", environment=api.environment
            )
            url = child.wait_for_line(STARTED, timeout_s=60)[1]
            child.wait_until(http_ok(f"{url}/readyz"), timeout_s=60, what="ready")
            api = Api(child, url, api.environment)
        rows = api.fetch(
            "SELECT s.version, s.status, count(a.id) AS entries, min(a.version_before) AS before FROM saga AS s"
            " LEFT JOIN audit_log AS a ON a.saga_id = s.id WHERE s.id = ANY($1) GROUP BY s.id",
            ids,
        )
        stood = {(row["version"], row["status"], row["entries"], row["before"]) for row in rows}
        assert stood == {(2, "suspended", 0, None), (3, "pending", 1, 2)}
    finally:
        child.stop()
        stack.postgres.drop_database(database)


def _held(api: Api) -> str:
    saga = api.post(SAGAS, order(f"held-{secrets.token_hex(6)}")).json
    api.fetch(SUSPEND, saga["id"])
    return str(saga["id"])


def _press(api: Api, saga_id: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        api.post(f"{SAGAS}/{saga_id}/retry", {"reason": "the warehouse is back", "expected_version": 2})


def _strike(api: Api, child: Child, done: int, ids: list[str]) -> None:
    """Kill the process as soon as so many of the acts have their entries."""
    run_async(_until_done(api.database_url, done, ids))
    child.kill()


async def _until_done(url: str, done: int, ids: list[str]) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(30):
            while await connection.fetchval("SELECT count(*) FROM audit_log WHERE saga_id = ANY($1)", ids) < done:
                pass
    finally:
        await connection.close()


def _start() -> StartRequest:
    request = order(f"audited-{secrets.token_hex(6)}")
    return StartRequest(request["definition"], None, request["input"])


async def _gone(*_: object) -> None:
    return None
