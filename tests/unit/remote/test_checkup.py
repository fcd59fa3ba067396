"""`saga doctor` over the API alone: each check in which something is wrong says what to do."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import httpx2
import pytest

from coordinator.exits import ExitCode
from tests.unit.remote.fake import Fake, problem


def healthy() -> Fake:
    fake = Fake()
    readiness(fake, {"started": "ok", "database": "ok"})
    fake.says("GET", "/v1/whoami", {"actor": "ann", "role": "operator"})
    fake.says("GET", "/v1/definitions", {"definitions": [{"name": "Trip", "version": 1, "known_by": 2, "replicas": 2}]})
    fake.says("GET", "/v1/participants", {"participants": [{"name": "payment", "breaker": "closed", "held": 0}]})
    fake.says("GET", "/v1/incidents", {"incidents": [], "next_cursor": None})
    fake.says("GET", "/v1/dead-letters", {"dead_letters": [], "next_cursor": None})
    return fake


def readiness(fake: Fake, checks: dict[str, str], date: str | None = None) -> None:
    headers = {"date": date or formatdate(usegmt=True)}
    ready = all(word == "ok" for word in checks.values())
    body = {"ready": ready, "checks": checks}

    def said(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200 if ready else 503, json=body, headers=headers, request=request)

    fake._said[("GET", "/readyz")] = [said]


def examined(fake: Fake) -> tuple[int, dict[str, Any]]:
    env = {"SAGA_DATABASE__URL": "", "SAGA_KAFKA__BOOTSTRAP_SERVERS": ""}
    done = fake.run("doctor", "-o", "json", env=env)
    return done.exit_code, {each["check"]: each for each in json.loads(done.stdout)}


def test_where_all_is_well_the_code_is_0() -> None:
    """What could not be asked is skipped, and says how it could be."""
    code, found = examined(healthy())
    assert code == 0
    assert {each["state"] for name, each in found.items() if name != "servers"} == {"ok"}
    assert found["servers"]["state"] == "skipped"
    assert "SAGA_DATABASE__URL" in found["servers"]["found"]


def test_for_people_there_is_a_line_for_each_check() -> None:
    """With what to do below what is wrong."""
    fake = healthy()
    readiness(fake, {"migrations": "the database stands at 0001"})
    done = fake.run("doctor", env={"SAGA_DATABASE__URL": "", "SAGA_KAFKA__BOOTSTRAP_SERVERS": ""})
    assert done.exit_code == ExitCode.NO
    lines = done.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("bad"))
    assert "the database stands at 0001" in lines[place]
    assert "run `saga migrate`" in lines[place + 1]


WRONG: list[tuple[str, str, Any, int, str, str, str]] = [
    ("whoami", "/v1/whoami", problem(401, "the key has expired"), 401, "key", "bad", "key that is valid"),
    (
        "lacking",
        "/v1/definitions",
        {"definitions": [{"name": "Trip", "version": 2, "known_by": 1, "replicas": 3, "in_flight": 0}]},
        200,
        "definitions",
        "warn",
        "finish the roll-out",
    ),
    (
        "orphaned",
        "/v1/definitions",
        {"definitions": [{"name": "Trip", "version": 2, "known_by": 0, "replicas": 3, "in_flight": 5}]},
        200,
        "definitions",
        "bad",
        "finish the roll-out",
    ),
    (
        "breaker",
        "/v1/participants",
        {"participants": [{"name": "payment", "breaker": "open", "held": 7, "why": "20 timeouts"}]},
        200,
        "participants",
        "bad",
        "whether its processes run",
    ),
    ("held", "/v1/participants", {"participants": [{"name": "p", "held": 7}]}, 200, "participants", "warn", "slower"),
    ("lag", "/v1/participants", {"participants": [{"name": "p", "lag": 5000}]}, 200, "lag", "warn", "start more"),
    (
        "silent",
        "/v1/participants",
        {"participants": [{"name": "p", "in_flight": 2, "last_reply_at": "2026-05-01T10:00:00.000Z"}]},
        200,
        "participants",
        "warn",
        "whether p runs",
    ),
    (
        "never heard",
        "/v1/participants",
        {"participants": [{"name": "p", "in_flight": 2, "last_reply_at": None, "lag": 2}]},
        200,
        "participants",
        "warn",
        "whether p runs",
    ),
    (
        "unknown lag",
        "/v1/participants",
        {"participants": [{"name": "p", "lag": None, "lag_unknown": "Kafka does not answer for now"}]},
        200,
        "lag",
        "warn",
        "whether Kafka answers",
    ),
    (
        "incidents",
        "/v1/incidents",
        {"incidents": [{"id": 1}], "next_cursor": None},
        200,
        "incidents",
        "warn",
        "saga inc",
    ),
    ("letters", "/v1/dead-letters", {"dead_letters": [{"id": 1}]}, 200, "dead letters", "warn", "saga dlq"),
    ("strange", "/v1/incidents", {}, 200, "incidents", "bad", "the server's version"),
    ("broken", "/v1/incidents", problem(500, "oh"), 500, "incidents", "bad", "the server's log"),
]


@pytest.mark.parametrize(("path", "value", "status", "check", "state", "advice"), [row[1:] for row in WRONG],
                         ids=[row[0] for row in WRONG])  # fmt: skip
def test_what_is_wrong_is_found_and_says_what_to_do(
    path: str, value: Any, status: int, check: str, state: str, advice: str
) -> None:
    """Only what is bad makes the exit code 1."""
    fake = healthy()
    fake._said[("GET", path)] = []
    fake.says("GET", path, value, status)
    code, found = examined(fake)
    assert found[check]["state"] == state
    assert advice in found[check]["advice"]
    assert code == (ExitCode.NO if state == "bad" else 0)


def test_a_participant_that_is_asked_nothing_may_be_silent() -> None:
    """Who has nothing to answer, or was asked a moment ago, is not ill."""
    fake = healthy()
    fake._said[("GET", "/v1/participants")] = []
    idle = {"name": "p", "in_flight": 0, "last_reply_at": "2026-05-01T10:00:00.000Z", "lag": 0, "lag_unknown": None}
    fake.says("GET", "/v1/participants", {"participants": [idle, {**idle, "in_flight": 1, "last_reply_at": None}]})
    code, found = examined(fake)
    assert (code, found["participants"]["state"]) == (0, "ok")


def test_what_a_key_may_not_see_is_skipped() -> None:
    """A viewer's doctor is not ill."""
    fake = healthy()
    fake._said[("GET", "/v1/incidents")] = []
    fake.says("GET", "/v1/incidents", problem(403, "the role does not have the permission"), 403)
    code, found = examined(fake)
    assert (code, found["incidents"]["state"]) == (0, "skipped")


def test_a_clock_that_is_off_is_noticed() -> None:
    """By the server's own word."""
    fake = healthy()
    readiness(fake, {"database": "ok"}, "Fri, 01 May 2026 10:00:00 GMT")
    _, found = examined(fake)
    assert found["clock"]["state"] == "warn"
    assert "NTP" in found["clock"]["advice"]


def test_a_server_that_is_away_is_the_first_finding() -> None:
    """The rest is skipped, and the exit code is 1, not 6: the question was how things stand."""

    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    fake = Fake()
    fake.says("GET", "/readyz", away)
    code, found = examined(fake)
    assert (code, found["server"]["state"], found["definitions"]["state"]) == (ExitCode.NO, "bad", "skipped")
    assert "whether the coordinator runs" in found["server"]["advice"]


def test_checks_that_have_a_port_of_their_own_are_not_missed() -> None:
    """A server that tells them elsewhere is not ill."""
    fake = healthy()
    fake._said[("GET", "/readyz")] = []
    fake.says("GET", "/readyz", problem(404, "there is nothing here"), 404)
    code, found = examined(fake)
    assert (code, found["readiness"]["state"], found["server"]["state"]) == (0, "skipped", "ok")


def test_settings_that_cannot_be_read_are_a_finding() -> None:
    """With the settings of a coordinator that are wrong, the API is asked all the same."""
    fake = healthy()
    done = fake.run("doctor", "-o", "json", env={"SAGA_DATABASE__URL": "postgresql://x", "SAGA_API__PORT": "many"})
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert done.exit_code == ExitCode.NO
    assert "SAGA_API__PORT" in found["settings"]["found"]
    assert found["server"]["state"] == "ok"
