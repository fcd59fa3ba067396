"""What can be found out about a coordinator over its API alone, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from coordinator.exits import ExitCode
from coordinator.findings import Finding, State
from coordinator.remote.client import Client
from coordinator.remote.output import Item
from coordinator.remote.refusals import Refusal

CLOCK_WARN_S: Final = 2.0
LAG_WARN: Final = 1_000
SILENT_WARN_S: Final = 60.0
_ADVICE: Final = {
    "started": "it starts; if it stays so, what it waits for is named: look at that server, and at the log",
    "database": "look whether Postgres runs, and whether the coordinator's SAGA_DATABASE__URL reaches it",
    "migrations": "run `saga migrate` with this version's settings, then start the coordinator again",
    "log_partitions": "an engine makes the days ahead hourly: look for log_days in its log, and whether one runs",
    "kafka": "look whether Kafka runs and has a leader for every partition; nothing is lost meanwhile",
    "partitions": "wait for the group to settle; if it stays so, more engines run than there are partitions",
    "choreographies": "look at what the check names; events stay in Kafka meanwhile",
}


def examine(client: Client) -> Iterator[Finding]:
    """Everything that the API tells, one check after the other."""
    reached = list(_readiness(client))
    yield from reached
    if reached[0].state is State.BAD:
        for check in ("key", "definitions", "participants", "incidents", "dead letters"):
            yield Finding(check, State.SKIPPED, "the server does not answer")
        return
    for check, look in (
        ("key", _key),
        ("definitions", _definitions),
        ("participants", _participants),
        ("incidents", _incidents),
        ("dead letters", _letters),
    ):
        yield from _looked(check, look, client)


def _looked(check: str, look: Callable[[Client], Iterator[Finding]], client: Client) -> Iterator[Finding]:
    try:
        yield from look(client)
    except Refusal as refusal:
        if refusal.status == 401:
            yield Finding(check, State.BAD, str(refusal), "name a key that is valid: in a context, or in SAGA_KEY")
        elif refusal.code in (ExitCode.FORBIDDEN, ExitCode.NOT_FOUND):
            yield Finding(check, State.SKIPPED, str(refusal))
        else:
            yield Finding(check, State.BAD, str(refusal), "ask again; if it stays so, look at the server's log")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        said = f"the answer is not what was expected: {error!r}"
        yield Finding(check, State.BAD, said, "use the `saga` of the server's version")


def _readiness(client: Client) -> Iterator[Finding]:
    """The server's own checks, and the difference between its clock and ours."""
    try:
        response = client.ask("/readyz")
    except Refusal as refusal:
        advice = "look whether the coordinator runs, and whether the context or SAGA_URL names the right address"
        yield Finding("server", State.BAD, str(refusal), advice)
        return
    yield Finding("server", State.OK, f"{client.server.url} answers (named by {client.server.named})")
    yield from _clock(response.headers.get("date"))
    if response.status_code in (401, 403, 404):
        yield Finding("readiness", State.SKIPPED, "the server's own checks are not told here: ask its port for health")
        return
    try:
        checks: dict[str, Any] = response.json()["checks"]
    except (ValueError, KeyError, TypeError):
        yield Finding("readiness", State.BAD, "the answer of /readyz makes no sense", "is it a coordinator?")
        return
    for name, word in checks.items():
        state = State.OK if word == "ok" else State.BAD
        yield Finding(name, state, str(word), "" if state is State.OK else _ADVICE.get(name, "look at the log"))


def _clock(date: str | None) -> Iterator[Finding]:
    if date is None:
        yield Finding("clock", State.SKIPPED, "the server does not say what time it has")
        return
    apart = abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
    if apart > CLOCK_WARN_S:
        advice = "set both clocks by NTP; the coordinator goes by the database's clock, people by theirs"
        yield Finding("clock", State.WARN, f"this machine and the server are {apart:.0f} s apart", advice)
    else:
        yield Finding("clock", State.OK, f"this machine and the server agree within {CLOCK_WARN_S:g} s")


def _key(client: Client) -> Iterator[Finding]:
    me = client.get("/v1/whoami").value
    yield Finding("key", State.OK, f"{me.get('actor')}, role {me.get('role')}")


def _definitions(client: Client) -> Iterator[Finding]:
    found: list[Item] = client.get("/v1/definitions").value["definitions"]
    apart = [each for each in found if not each.get("replaced") and each.get("known_by") != each.get("replicas")]
    for each in apart:
        name = f"{each['name']} version {each['version']}"
        if each.get("known_by") is None:
            yield Finding("definitions", State.BAD, f"{name} is not registered", "start the coordinator again")
        elif each.get("known_by") == 0 and not each.get("in_flight"):
            yield Finding("definitions", State.OK, f"{name} is not loaded anywhere, and nothing runs on it")
        else:
            known = f"{name} is known by {each['known_by']} of {each['replicas']} replicas"
            advice = "finish the roll-out: a version starts sagas when every live replica knows it"
            bad = each.get("known_by") == 0
            yield Finding("definitions", State.BAD if bad else State.WARN, known, advice)
    if not apart:
        count = "1 version" if len(found) == 1 else f"{len(found)} versions"
        yield Finding("definitions", State.OK, f"{count}, known by every live replica")


def _participants(client: Client) -> Iterator[Finding]:
    found: list[Item] = client.get("/v1/participants").value["participants"]
    troubled = list(_troubled(found))
    yield from troubled
    if not troubled:
        yield Finding("participants", State.OK, f"{len(found)} participants, none is held back or far behind")


def _troubled(found: list[Item]) -> Iterator[Finding]:
    for each in found:
        name = each["name"]
        if each.get("breaker") not in (None, "closed"):
            said = f"{name}: its breaker is {each['breaker']} since {each.get('since')}: {each.get('why')}"
            advice = "look whether its processes run and answer; it is tried again by itself"
            yield Finding("participants", State.BAD, said, advice)
        elif each.get("held"):
            said = f"{name}: {each['held']} sagas wait until it takes new actions"
            yield Finding("participants", State.WARN, said, "it is slower than what is asked for, or its limit is low")
        yield from _silent(each)
        lag = each.get("lag")
        if isinstance(lag, int) and lag >= LAG_WARN:
            advice = f"look whether {name} runs; start more of its processes if it keeps behind"
            yield Finding("lag", State.WARN, f"{name} is {lag} commands behind", advice)
        elif each.get("lag_unknown"):
            advice = "look whether Kafka answers the coordinator; nothing is lost meanwhile"
            yield Finding("lag", State.WARN, f"{name}: its backlog is not known: {each['lag_unknown']}", advice)


def _silent(participant: Item) -> Iterator[Finding]:
    """A participant that is asked for something and has not answered of late."""
    asked, last = participant.get("in_flight"), participant.get("last_reply_at")
    if not asked or (last is None and not participant.get("lag")):
        return
    silent_s = None if last is None else (datetime.now(UTC) - datetime.fromisoformat(last)).total_seconds()
    if silent_s is None or silent_s >= SILENT_WARN_S:
        since = (
            "has not answered since an engine started" if silent_s is None else f"last answered {silent_s:.0f} s ago"
        )
        said = f"{participant['name']}: {asked} commands are in flight, and it {since}"
        advice = f"look whether {participant['name']} runs and reads its commands; what times out is tried again"
        yield Finding("participants", State.WARN, said, advice)


def _incidents(client: Client) -> Iterator[Finding]:
    answer = client.get("/v1/incidents", {"state": "open", "limit": 200}).value
    count, more = len(answer["incidents"]), "" if answer.get("next_cursor") is None else " or more"
    if count:
        yield Finding("incidents", State.WARN, f"{count}{more} are open", "look at them: saga incidents")
    else:
        yield Finding("incidents", State.OK, "none is open")


def _letters(client: Client) -> Iterator[Finding]:
    answer = client.get("/v1/dead-letters", {"state": "open", "limit": 200}).value
    count, more = len(answer["dead_letters"]), "" if answer.get("next_cursor") is None else " or more"
    if count:
        yield Finding("dead letters", State.WARN, f"{count}{more} are open", "look at them: saga dlq")
    else:
        yield Finding("dead letters", State.OK, "none is open")


def has_settings() -> bool:
    """Whether the environment holds the settings of a coordinator, so that its servers can be asked themselves."""
    return any(os.environ.get(name) for name in ("SAGA_DATABASE__URL", "SAGA_KAFKA__BOOTSTRAP_SERVERS"))
