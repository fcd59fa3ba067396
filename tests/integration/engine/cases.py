"""The catalogue of bad records (K1 to K42): what is sent, and what must come of it.

Each case begins with a saga that waits for the reply of its first step. `prepare` brings it further, `make` answers the
record. `verdict` is the one durable verdict; `reason` and `detail` are those of the dead letter of a quarantined one.
`moves` says that the saga's row may change: by default not a byte of it does.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.e2e.definitions import ATTEMPTS
from tests.integration.engine.bench import Bench, Raw, Target, reply, without

Prepare = Callable[[Bench, Target, Target], Awaitable[None]]
Make = Callable[[Target, Target], Raw]
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Case:
    """One kind of bad record; `make` gets the saga and a neighbour of its partition."""

    name: str
    verdict: str
    make: Make
    reason: str | None = None
    detail: str = ""
    prepare: Prepare | None = None
    moves: bool = False
    status: str | None = None
    oddity: str | None = None


def quarantined(name: str, reason: str, make: Make, detail: str = "") -> Case:
    """Say that a record is set aside."""
    return Case(name, "quarantined", make, reason, detail)


def body(value: bytes | None) -> Make:
    """Send these bytes under the headers of a good reply."""
    return lambda t, _: Raw(value, reply(t, b"").headers, t.saga_id.encode())


def patched(old: str, new: str) -> Make:
    """Send a good reply with some of its text replaced."""
    return lambda t, _: reply(t, json.dumps(t.completed()).replace(old, new).encode())


def altered(**changes: Any) -> Make:
    """Send a good reply with other fields."""
    return lambda t, _: reply(t, t.completed(0, **changes))


def lacking(field: str) -> Make:
    """Send a good reply without one of its fields."""
    return lambda t, _: reply(t, {name: value for name, value in t.completed().items() if name != field})


def typed(ce_type: str) -> Make:
    """Send a good reply under another type."""
    return lambda t, _: reply(t, t.completed(), ce_type)


def marked(**headers: str) -> Make:
    """Send a good reply with further headers."""
    return lambda t, _: reply(t, t.completed(), "SagaStepCompleted", 0, **headers)


async def reserve(bench: Bench, target: Target, _: Target) -> None:
    """The first step is done: the saga waits for its payment."""
    await bench.advance(target, [0])


async def complete(bench: Bench, target: Target, _: Target) -> None:
    """The saga has ended well."""
    await bench.advance(target, [0, 1, 2, 3])


async def turn_back(bench: Bench, target: Target, _: Target) -> None:
    """The payment was refused: the saga waits for its reservation to be released."""
    await bench.advance(target, [0])
    await bench.deliver(target.part, reply(target, target.failed(1), "SagaStepFailed", 1))


async def lose(bench: Bench, target: Target, _: Target) -> None:
    """The first step used up its budget: its outcome is unknown and it is being undone."""
    for attempt in range(1, ATTEMPTS + 1):
        await bench.world.until(
            "SELECT convert_from(state, 'UTF8')::jsonb->'steps'->0->>'attempt' = $2 AND"
            " convert_from(state, 'UTF8')::jsonb->'steps'->0->>'outcome' = 'issued' FROM saga WHERE id = $1::uuid",
            target.saga_id,
            str(attempt),
        )
        value = target.failed(0, retryable=True, attempt=attempt)
        await bench.deliver(target.part, reply(target, value, "SagaStepFailed"))


async def use_ce_id(bench: Bench, _: Target, neighbour: Target) -> None:
    """Another saga's reply has used a message id."""
    await bench.deliver(neighbour.part, reply(neighbour, neighbour.completed(), ce_id="shared"))


def echoed_command(t: Target, _: Target) -> Raw:
    """Send a command back to where replies belong."""
    command = {
        **t.said(),
        "saga_type": "Patient",
        "direction": "action",
        "payload": {},
        "not_after": "2030-01-01T00:00:00.000Z",
    }
    return reply(t, command, "ReserveItems", ce_source="saga-coordinator")


def dead_letter_again(t: Target, _: Target) -> Raw:
    """Send one of our own dead letters."""
    value = json.dumps({**t.said(0, "compensation"), "direction": "compensation"}).encode()
    headers = [("saga-dlq-kind", b"compensation"), ("saga-dlq-reason", b"compensation_dead_lettered")]
    return Raw(value, headers, t.saga_id.encode())


def connect_envelope(t: Target, _: Target) -> Raw:
    """Send what a connector makes of a reply."""
    return reply(t, {"schema": {"type": "struct", "fields": []}, "payload": t.completed()})


def unknown_saga(_t: Target, _n: Target) -> Raw:
    """Answer for a saga that nobody has."""
    stranger = Target(str(uuid4()), 0)
    return reply(stranger, stranger.completed())


def many_headers(value: bytes | None) -> Make:
    """Send a thousand headers more than anyone needs."""

    def make(t: Target, _: Target) -> Raw:
        good = reply(t, t.completed())
        headers = [*good.headers, *((f"x-{number}", b"\xff\xfe") for number in range(1000))]
        return Raw(good.value if value is None else value, headers, good.key)

    return make


def at_time(timestamp_ms: int) -> Make:
    """Send a good reply with an odd timestamp."""

    def make(t: Target, _: Target) -> Raw:
        good = reply(t, t.completed())
        return Raw(good.value, good.headers, good.key, timestamp_ms)

    return make


def with_key(key: bytes | None) -> Make:
    """Send a good reply under another key."""
    return lambda t, _: Raw(reply(t, t.completed()).value, reply(t, t.completed()).headers, key)


def colourful_failure(t: Target, _: Target) -> Raw:
    """Fail with markup, terminal codes, line breaks and 100 kB of text."""
    message = "<script>alert(1)</script>\x1b[31m\r\nHost: evil" + "x" * 100_000
    error = {"code": "refused", "message": message, "retryable": False}
    return reply(t, t.said(error=error), "SagaStepFailed")


GOOD_SAGA_IDS = ("not-a-uuid", "x" * 10_000, "../../etc/passwd", "'; DROP TABLE saga; --")
DEEP = '{"a":' * 1000 + "1" + "}" * 1000
JSON = b'{"saga_id":"x"}'

CASES: list[Case] = [
    quarantined("K1-null", "empty", body(None)),
    quarantined("K2-no-bytes", "empty", body(b"")),
    quarantined("K2-spaces", "empty", body(b"  \n ")),
    quarantined("K3-invalid-utf8", "not_json", body(b'{"saga_id":"\xff\xfe"}')),
    quarantined("K3-random", "not_json", body(bytes(range(128, 256)))),
    quarantined("K4-truncated", "not_json", lambda t, _: reply(t, json.dumps(t.completed()).encode()[:-2])),
    quarantined("K5-array", "not_object", body(b"[1,2]")),
    quarantined("K5-string", "not_object", body(b'"done"')),
    quarantined("K5-number", "not_object", body(b"17")),
    quarantined("K5-null", "not_object", body(b"null")),
    quarantined("K6-bom", "not_json", lambda t, _: reply(t, b"\xef\xbb\xbf" + json.dumps(t.completed()).encode())),
    quarantined("K6-utf16", "not_json", lambda t, _: reply(t, json.dumps(t.completed()).encode("utf-16"))),
    quarantined("K7-magic-byte", "not_json", body(b"\x00\x00\x00\x00\x2a\x02\x10"), "magic byte"),
    quarantined("K8-duplicate-key", "duplicate_key", patched('"attempt": 1', '"attempt": 1, "attempt": 1')),
    quarantined("K8-duplicate-key-below", "duplicate_key", patched('"r-1"', '"r-1", "reservation_id": "r-2"')),
    *(
        quarantined(f"K9-{word}", "non_finite", patched('"r-1"', f'"r-1", "more": {word}'))
        for word in ("NaN", "Infinity", "-Infinity", "1e999")
    ),
    quarantined("K10-nul-in-text", "nul", patched("r-1", "r\\u0000")),
    quarantined("K10-nul-in-key", "nul", patched('"r-1"', '"r-1", "a\\u0000": 1')),
    quarantined("K11-lone-surrogate", "bad_unicode", patched("r-1", "\\ud800")),
    quarantined("K12-5000-digits", "number_range", patched('"r-1"', '"r-1", "more": ' + "9" * 5000)),
    quarantined("K12-beyond-64-bits", "number_range", patched('"attempt": 1', f'"attempt": {2**63}')),
    quarantined("K13-too-deep", "too_deep", patched('"r-1"', f'"r-1", "more": {DEEP}')),
    quarantined("K14-3-megabytes", "too_large", body(b'{"a":"' + b"x" * 3 * MEGABYTE + b'"}')),
    quarantined("K17-no-ce_id", "schema", lambda t, _: without(reply(t, t.completed()), "ce_id"), "ce_id"),
    quarantined("K17-no-ce_type", "schema", lambda t, _: without(reply(t, t.completed()), "ce_type"), "ce_type"),
    quarantined("K17-no-command_id", "schema", lacking("command_id"), "command_id"),
    quarantined("K17-no-saga_id", "schema", lacking("saga_id"), "saga_id"),
    quarantined("K18-saga_id-5", "schema", altered(saga_id=5), "saga_id"),
    quarantined("K18-attempt-text", "schema", altered(attempt="1"), "attempt"),
    quarantined("K18-attempt-true", "schema", altered(attempt=True), "attempt"),
    quarantined("K18-result-list", "schema", altered(result=[]), "result"),
    quarantined("K19-unknown-type", "schema", typed("SagaStepMaybe"), "ce_type"),
    quarantined("K19-other-case", "schema", typed("sagastepcompleted"), "ce_type"),
    quarantined(
        "K19-unknown-effect",
        "schema",
        lambda t, _: reply(t, t.said(0, "compensation", effect="maybe"), "SagaCompensationCompleted"),
        "effect",
    ),
    Case("K20-extra-fields", "applied", altered(colour="green", more={"a": [1]}), moves=True, oddity="unknown_fields"),
    Case("K21-newer-minor", "applied", marked(ce_schemaversion="1.7"), moves=True),
    quarantined("K21-newer-major", "version", marked(ce_schemaversion="2.0")),
    Case("K22-result-lacks-a-field", "applied", altered(result={}), moves=True, status="suspended"),
    Case("K22-result-of-wrong-type", "applied", altered(result={"reservation_id": 7}), moves=True, status="suspended"),
    Case(
        "K23-money-as-float",
        "applied",
        lambda t, _: reply(
            t,
            json.dumps(t.completed(1)).replace("4200", "0.1000000000000000055").encode(),
            position=1,
        ),
        prepare=reserve,
        moves=True,
        status="suspended",
    ),
    Case("K24-unknown-saga", "foreign", unknown_saga),
    *(quarantined(f"K25-{text[:12]}", "schema", altered(saga_id=text), "saga_id") for text in GOOD_SAGA_IDS),
    Case("K26-wrong-step", "foreign", altered(step_name="no_such_step")),
    Case("K26-another-step", "foreign", lambda t, _: reply(t, {**t.completed(), "step_name": "process_payment"})),
    Case("K27-command-of-another-saga", "foreign", lambda t, n: reply(t, {**n.completed(), "saga_id": t.saga_id})),
    Case("K28-future-step", "stale", lambda t, _: reply(t, t.completed(2), position=2)),
    Case("K29-exact-duplicate", "duplicate", marked(ce_id="same"), prepare=reserve),
    Case("K30-same-outcome-again", "duplicate", altered(), prepare=reserve),
    Case("K31-opposite-outcome", "stale", lambda t, _: reply(t, t.failed(), "SagaStepFailed"), prepare=reserve),
    Case("K32-message-id-of-another", "applied", marked(ce_id="shared"), prepare=use_ce_id, moves=True),
    Case("K33-late-success", "stale", altered(), prepare=lose, moves=True, status="compensating"),
    Case("K33-late-failure", "stale", lambda t, _: reply(t, t.failed(), "SagaStepFailed"), prepare=lose),
    Case("K35-ended-again", "duplicate", altered(), prepare=complete),
    Case("K35-ended-otherwise", "stale", lambda t, _: reply(t, t.failed(), "SagaStepFailed"), prepare=complete),
    Case("K35-ended-progress", "stale", lambda t, _: reply(t, t.said(), "SagaStepProgress"), prepare=complete),
    Case(
        "K36-undo-reply-going-forward",
        "stale",
        lambda t, _: reply(t, t.said(0, "compensation", effect="undone"), "SagaCompensationCompleted"),
    ),
    Case("K36-action-reply-going-back", "stale", lambda t, _: reply(t, t.completed(2), position=2), prepare=turn_back),
    Case(
        "K36-undo-of-a-step-not-yet-asked",
        "stale",
        lambda t, _: reply(t, t.said(1, "compensation", effect="undone"), "SagaCompensationCompleted", 1),
        prepare=turn_back,
    ),
    Case("K37-no-key", "applied", with_key(None), moves=True, oddity="wrong_key"),
    Case("K37-other-key", "applied", with_key(b"something else"), moves=True, oddity="wrong_key"),
    Case("K38-another-participant", "foreign", marked(ce_source="payment")),
    Case("K39-year-1970", "applied", at_time(1), moves=True),
    Case("K39-year-2100", "applied", at_time(4_102_444_800_000), moves=True),
    quarantined("K39-no-headers", "schema", lambda t, _: Raw(json.dumps(t.completed()).encode(), [], b"k"), "ce_type"),
    Case("K39-1000-headers", "applied", many_headers(None), moves=True),
    quarantined("K39-1000-headers-and-rubbish", "not_json", many_headers(b"{")),
    Case("K40-malformed-traceparent", "applied", marked(traceparent="00-zz-zz-zz"), moves=True),
    Case("K40-megabyte-of-baggage", "applied", marked(baggage="a=" + "b" * MEGABYTE), moves=True),
    Case("K41-colourful-failure", "applied", colourful_failure, moves=True, status="failed"),
    quarantined("K42-command", "schema", echoed_command),
    quarantined("K42-dead-letter", "schema", dead_letter_again),
    quarantined("K42-connect-envelope", "schema", connect_envelope),
]
