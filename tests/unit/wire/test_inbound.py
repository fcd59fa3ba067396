"""What may come on the coordinator's topic: read in both CloudEvents modes, or refused with the field's path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.wire.cloudevents import event_headers, message_headers, reply_headers
from coordinator.wire.inbound import Inbound, decode_event, decode_inbound
from coordinator.wire.messages import (
    CompensationCompleted,
    CompensationFailed,
    ExternalCompleted,
    ExternalError,
    ExternalFailed,
    InboundMessage,
    StartRefused,
    StartRequested,
    StepCompleted,
    StepError,
    StepFailed,
    StepProgress,
    Touched,
    Transitioned,
)
from coordinator.wire.strict_json import Refused, encode

SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
KEY = SAGA_ID.encode()
COMMAND_ID = f"{SAGA_ID}:1:process_payment:action"
ECHO = {"saga_id": SAGA_ID, "step_name": "process_payment", "command_id": COMMAND_ID, "attempt": 2}
ECHOED = (SAGA_ID, "process_payment", COMMAND_ID, 2)
ERROR = StepError("card_declined", "Sorry, «no».", retryable=False)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW_MS = 1_760_000_000_123
DEEP: dict[str, Any] = {"a": [[[[[[[[[1]]]]]]]]]}
FORCES_THE_SLOW_ROAD = ("content-type", b"application/json; road=slow")

SAMPLES: list[InboundMessage] = [
    StepCompleted(*ECHOED, {"payment_id": "pay_1", "amount_cents": 12_999, "lines": [{"x": None, "y": 0.5}]}),
    StepCompleted(*ECHOED, {}),
    StepCompleted(*ECHOED, DEEP),
    StepFailed(*ECHOED, ERROR),
    CompensationCompleted(*ECHOED, "undone"),
    CompensationCompleted(*ECHOED, "nothing_to_undo"),
    CompensationFailed(*ECHOED, StepError("", "", retryable=True)),
    StepProgress(*ECHOED),
    ExternalCompleted(SAGA_ID, "approval", {"approved_by": "anna"}),
    ExternalFailed(SAGA_ID, "approval", ExternalError("too_dear", "beyond what we pay")),
    StartRequested(definition="OrderFulfillment", input={"order_id": "o-1"}),
    StartRequested(definition="OrderFulfillment", version=3, input=DEEP, start_at="2025-01-31T12:00:00+01:00"),
    Touched(SAGA_ID),
]


def _headers(message: InboundMessage, *extra: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    source = "saga-coordinator" if isinstance(message, Touched) else "payment"
    return [*message_headers(message.ce_type, "id-1", source, SAGA_ID, NOW_MS, TRACE), *extra]


def _tree(message: InboundMessage) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(encode(message))
    return tree


def _structured(message: InboundMessage, **changes: Any) -> bytes:
    source = "saga-coordinator" if isinstance(message, Touched) else "payment"
    envelope = {
        "specversion": "1.0",
        "id": "id-1",
        "type": message.ce_type,
        "source": source,
        "subject": SAGA_ID,
        "time": "2025-01-31T12:00:00.000Z",
        "datacontenttype": "application/json",
        "traceparent": TRACE,
        "data": _tree(message),
    }
    return encode({name: part for name, part in (envelope | changes).items() if part is not ...})


def _reply(value: bytes | None, ce_type: str = "SagaStepCompleted", *extra: tuple[str, bytes]) -> Inbound:
    headers = reply_headers(ce_type, "id-1", "payment", SAGA_ID, NOW_MS)
    return decode_inbound([*headers, *extra], KEY, value)


def _refusal(value: bytes | None, ce_type: str = "SagaStepCompleted", *extra: tuple[str, bytes]) -> Refused:
    with pytest.raises(Refused) as refused:
        _reply(value, ce_type, *extra)
    return refused.value


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: message.ce_type)
@pytest.mark.parametrize("mode", ["binary", "binary, slow road", "indented", "reordered", "structured"])
def test_every_message_comes_back_as_it_was_sent(message: InboundMessage, mode: str) -> None:
    """In either mode and any spelling a message round-trips, and so do sender, id and trace."""
    headers, value = _headers(message), encode(message)
    if mode == "binary, slow road":
        headers = _headers(message, FORCES_THE_SLOW_ROAD)
    elif mode == "indented":
        value = json.dumps(_tree(message), indent=2).encode()
    elif mode == "reordered":
        value = encode(dict(reversed(_tree(message).items())))
    elif mode == "structured":
        headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
        value = _structured(message)
    inbound = decode_inbound(headers, KEY, value)
    assert inbound.message == message
    assert type(inbound.message) is type(message)
    assert (inbound.ce_id, inbound.traceparent) == ("id-1", TRACE)
    assert inbound.source == ("saga-coordinator" if isinstance(message, Touched) else "payment")
    assert not inbound.wrong_key
    assert not inbound.has_unknown_fields


@pytest.mark.parametrize("spelling", ["compact", "indented"])
def test_result_and_input_come_as_canonical_json(spelling: str) -> None:
    """What is to be stored comes as compact bytes, whatever the sender's spelling; other messages have none."""
    for message in SAMPLES:
        tree = _tree(message)
        value = encode(message) if spelling == "compact" else json.dumps(tree, indent=1).encode()
        body = tree.get("result", tree.get("input"))
        expected = None if body is None else encode(body)
        assert decode_inbound(_headers(message), KEY, value).body_json == expected


# K17, K18, K19, K25: what is changed in a good reply, and the path that the refusal must name
WRONG_FIELDS: list[tuple[str, dict[str, Any], str]] = [
    *((f"K17 missing {name}", {name: ...}, name) for name in (*ECHO, "result")),
    ("K18 saga_id is a number", {"saga_id": 5}, "saga_id"),
    ("K18 step_name is null", {"step_name": None}, "step_name"),
    ("K18 step_name is empty", {"step_name": ""}, "step_name"),
    ("K18 step_name is long", {"step_name": "s" * 64}, "step_name"),
    ("K18 command_id is a list", {"command_id": [COMMAND_ID]}, "command_id"),
    ("K18 command_id is long", {"command_id": "c" * 301}, "command_id"),
    ("K18 attempt is true", {"attempt": True}, "attempt"),
    ("K18 attempt is text", {"attempt": "1"}, "attempt"),
    ("K18 attempt is a float", {"attempt": 1.0}, "attempt"),
    ("K18 attempt is zero", {"attempt": 0}, "attempt"),
    ("K18 attempt is great", {"attempt": 2**31}, "attempt"),
    ("K18 result is a list", {"result": []}, "result"),
    ("K18 result is null", {"result": None}, "result"),
    ("K18 result is true", {"result": True}, "result"),
    ("K25 saga_id is text", {"saga_id": "order-1"}, "saga_id"),
    ("K25 saga_id in upper case", {"saga_id": SAGA_ID.upper()}, "saga_id"),
    ("K25 saga_id without dashes", {"saga_id": SAGA_ID.replace("-", "")}, "saga_id"),
    ("K25 saga_id in braces", {"saga_id": f"{{{SAGA_ID}}}"}, "saga_id"),
    ("K25 saga_id with a line feed", {"saga_id": SAGA_ID + "\n"}, "saga_id"),
    ("K25 saga_id with other digits", {"saga_id": SAGA_ID[:-1] + "\u0665"}, "saga_id"),
    ("K25 saga_id of 10 kB", {"saga_id": "a" * 10_000}, "saga_id"),
    ("K25 saga_id is a path", {"saga_id": "../../x"}, "saga_id"),
    ("K25 saga_id is SQL", {"saga_id": "'; DROP TABLE saga; --"}, "saga_id"),
]


@pytest.mark.parametrize("mode", ["binary", "structured"])
@pytest.mark.parametrize(("changes", "path"), [row[1:] for row in WRONG_FIELDS], ids=[row[0] for row in WRONG_FIELDS])
def test_a_wrong_field_is_refused_by_its_path(changes: dict[str, Any], path: str, mode: str) -> None:
    """No field is coerced and none may be missing; the refusal says which one is wrong."""
    fields = ECHO | {"result": {}} | changes
    data = {name: field for name, field in fields.items() if field is not ...}
    if mode == "binary":
        refusal = _refusal(encode(data))
    else:
        value = _structured(SAMPLES[0], data=data)
        refusal = _refusal(value, "", ("content-type", b"application/cloudevents+json"))
        path = f"data.{path}"
    assert (refusal.reason, refusal.path) == ("schema", path)


WRONG_MESSAGES: list[tuple[str, str, dict[str, Any], str]] = [
    ("K17 no error", "SagaStepFailed", ECHO, "error"),
    ("K17 no retryable", "SagaStepFailed", {**ECHO, "error": {"code": "", "message": ""}}, "error.retryable"),
    (
        "K18 retryable is 1",
        "SagaCompensationFailed",
        {**ECHO, "error": {"code": "", "message": "", "retryable": 1}},
        "error.retryable",
    ),
    ("K19 unknown effect", "SagaCompensationCompleted", {**ECHO, "effect": "maybe"}, "effect"),
    ("K19 effect in another case", "SagaCompensationCompleted", {**ECHO, "effect": "Undone"}, "effect"),
    ("K18 version is 0", "SagaStartRequested", {"definition": "D", "input": {}, "version": 0}, "version"),
    (
        "K18 version is true",
        "SagaStartRequested",
        {"definition": "D", "input": {}, "version": True},
        "version",
    ),
    ("K18 input is text", "SagaStartRequested", {"definition": "D", "input": "{}"}, "input"),
    ("K18 no moment", "SagaStartRequested", {"definition": "D", "input": {}, "start_at": "now"}, "start_at"),
    ("K25 touched: no UUID", "SagaTouched", {"saga_id": "x"}, "saga_id"),
    ("K42 a command echoed", "ProcessPayment", {**ECHO, "direction": "action"}, "ce_type"),
    ("K42 a lifecycle event echoed", "SagaTransitioned", {**ECHO}, "ce_type"),
    ("K42 a Connect envelope", "SagaStepCompleted", {"schema": {}, "payload": {**ECHO}}, "saga_id"),
    ("K42 our own quarantine record", "SagaStepCompleted", {"reason": "schema", "value": "e30="}, "saga_id"),
    ("K19 a type in another case", "sagastepcompleted", {**ECHO, "result": {}}, "ce_type"),
]


@pytest.mark.parametrize(
    ("ce_type", "data", "path"), [row[1:] for row in WRONG_MESSAGES], ids=[row[0] for row in WRONG_MESSAGES]
)
def test_a_message_that_is_none_of_ours_is_refused(ce_type: str, data: dict[str, Any], path: str) -> None:
    """Unknown types, echoes, foreign envelopes and unknown words are refused, never guessed at."""
    refusal = _refusal(encode(data), ce_type)
    assert (refusal.reason, refusal.path) == ("schema", path)


def test_unknown_fields_are_ignored_and_told() -> None:
    """K20: a newer participant may say more; it is read as if it had not, and counted."""
    inbound = _reply(encode({"future": {"x": 1}, **ECHO, "result": {"y": 2}}))
    assert inbound.message == StepCompleted(*ECHOED, {"y": 2})
    assert inbound.has_unknown_fields
    structured = _structured(SAMPLES[0], datacontenttype="text/x", extension=7)
    assert not _reply(structured, "", ("content-type", b"application/cloudevents+json")).has_unknown_fields


@pytest.mark.parametrize(
    ("version", "verdict"),
    [(b"1.0", None), (b"1.7", None), (b"2.0", "version"), (b"0.9", "version"), (b"10.0", "version")]
    + [(bad, "schema") for bad in (b"1", b"", b"one", b"1.0.0", b"\xff", b"1." + b"0" * 9, b"1.0\n")],
)
def test_another_major_version_is_refused(version: bytes, verdict: str | None) -> None:
    """K21: minor versions are ours, another major is set aside as such, and gibberish is no version."""
    value = encode(SAMPLES[0])
    for name in ("ce_schemaversion", "ce_specversion"):
        if verdict is None:
            assert _reply(value, "SagaStepCompleted", (name, version)).message == SAMPLES[0]
        else:
            refusal = _refusal(value, "SagaStepCompleted", (name, version))
            assert (refusal.reason, refusal.path) == (verdict, name)


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"schemaversion": "2.0"}, "version", "schemaversion"),
        ({"schemaversion": 1.0}, "schema", "schemaversion"),
        ({"specversion": "0.3"}, "version", "specversion"),
        ({"data": ...}, "schema", "data"),
        ({"data": "{}"}, "schema", "data"),
        ({"data": ..., "data_base64": "e30="}, "schema", "data"),
        ({"type": ...}, "schema", "type"),
        ({"type": "SagaNoSuchThing"}, "schema", "type"),
        ({"id": 7}, "schema", "id"),
        ({"source": ""}, "schema", "source"),
    ],
)
def test_a_wrong_structured_envelope_is_refused(changes: dict[str, Any], reason: str, path: str) -> None:
    """Structured mode is as strict as binary mode about its attributes."""
    value = _structured(SAMPLES[0], **changes)
    refusal = _refusal(value, "SagaStepCompleted", ("content-type", b"application/cloudevents+json"))
    assert (refusal.reason, refusal.path) == (reason, path)


def test_a_batch_of_cloudevents_is_refused() -> None:
    """Batched and other formats of CloudEvents are named as what is not read."""
    content = ("content-type", b"application/cloudevents-batch+json")
    refusal = _refusal(encode(SAMPLES[0]), "SagaStepCompleted", content)
    assert (refusal.reason, refusal.path) == ("schema", "content-type")


@pytest.mark.parametrize("name", ["ce_type", "ce_id", "ce_source"])
@pytest.mark.parametrize("raw", [None, b"", b"\xff\xfe", b"a\r\nb", b"\x00", b"x" * 513])
def test_a_header_that_decides_must_be_readable(name: str, raw: bytes | None) -> None:
    """K39: type, id and source must be short, printable UTF-8; else the record is refused by the header's name."""
    headers = dict(reply_headers("SagaStepCompleted", "id-1", "payment", SAGA_ID, NOW_MS))
    del headers[name]
    if raw is not None:
        headers[name] = raw
    with pytest.raises(Refused) as refused:
        decode_inbound(list(headers.items()), KEY, encode(SAMPLES[0]))
    assert (refused.value.reason, refused.value.path) == ("schema", name)


def test_what_is_wrong_with_the_value_is_said_before_its_headers() -> None:
    """K1-K14 hold with no headers at all: a record of some other system is refused for what its bytes are."""
    for value, reason in ((None, "empty"), (b"\x00\x00\x00\x00\x01x", "not_json"), (b"[]", "not_object")):
        with pytest.raises(Refused) as refused:
            decode_inbound([], None, value)
        assert refused.value.reason == reason


@pytest.mark.parametrize(
    "extra",
    [
        [("ce_time", b"1970-01-01T00:00:00Z")],
        [("ce_time", b"yesterday")],
        [("ce_subject", b"\xff")],
        [(f"x-{number}", b"x") for number in range(1000)],
        [("x-binary", b"\x00\xff")],
        [("baggage", b"k=v," * 250_000)],
        [("traceparent", b"x" * 1_000_000)],
    ],
    ids=["1970", "no time", "subject", "1,000 headers", "not UTF-8", "1 MB baggage", "1 MB traceparent"],
)
@pytest.mark.parametrize("road", [[], [FORCES_THE_SLOW_ROAD]], ids=["fast", "slow"])
def test_headers_without_a_say_change_nothing(extra: list[tuple[str, bytes]], road: list[tuple[str, bytes]]) -> None:
    """K39, K40: strange times, subjects, baggage and a thousand headers are ignored for logic."""
    inbound = _reply(encode(SAMPLES[0]), "SagaStepCompleted", *extra, *road)
    assert inbound.message == SAMPLES[0]
    assert inbound.traceparent is None


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "garbage",
        TRACE.upper(),
        TRACE[:-1],
        f"ff{TRACE[2:]}",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        TRACE.replace("-", "_"),
    ],
)
def test_a_malformed_traceparent_is_dropped(traceparent: str) -> None:
    """K40: no trace is better than a wrong one, and never a reason to refuse a reply."""
    value = encode(SAMPLES[0])
    header = ("traceparent", traceparent.encode())
    assert _reply(value, "SagaStepCompleted", header).traceparent is None
    structured = _structured(SAMPLES[0], traceparent=traceparent)
    content = ("content-type", b"application/cloudevents+json")
    assert _reply(structured, "", content).traceparent is None


@pytest.mark.parametrize("letter", ["x", "ä", "\N{GRINNING FACE}", "\x1b"])
@pytest.mark.parametrize("ce_type", ["SagaStepFailed", "SagaCompensationFailed"])
def test_a_long_error_is_cut_at_a_character(letter: str, ce_type: str) -> None:
    """K41: code and message keep 8 KiB of UTF-8 together, whole characters only, and the verdict stays."""
    error = {"code": letter * 5_000, "message": letter * 25_000, "retryable": True}
    message = _reply(encode({**ECHO, "error": error}), ce_type).message
    assert isinstance(message, StepFailed | CompensationFailed)
    code, text = message.error.code, message.error.message
    assert message.error.retryable
    assert set(code) == set(text) == {letter}
    assert 8 * 1024 - 8 < len(code.encode()) + len(text.encode()) <= 8 * 1024


def test_a_wrong_key_is_told_but_does_not_decide() -> None:
    """K37: a reply is handled by its content; that its key was missing or another's is only counted."""
    headers, value = _headers(SAMPLES[0]), encode(SAMPLES[0])
    for key in (None, b"", b"\xff", b"0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b58"):
        inbound = decode_inbound(headers, key, value)
        assert inbound.wrong_key
        assert inbound.message == SAMPLES[0]
    start = StartRequested(definition="D", input={})
    assert not decode_inbound(_headers(start), None, encode(start)).wrong_key


def test_only_the_coordinator_touches() -> None:
    """A hint from anybody else is refused: it would make the owner read the saga's row at will."""
    refusal = _refusal(encode(Touched(SAGA_ID)), "SagaTouched")
    assert (refusal.reason, refusal.path) == ("not_owner", "ce_source")


def test_a_repeated_header_counts_by_its_last_value() -> None:
    """As in Kafka's own clients the last of several equal headers is the one that holds."""
    inbound = _reply(encode(SAMPLES[0]), "x", ("ce_type", b"SagaStepCompleted"), ("ce_source", b"shipping"))
    assert inbound.source == "shipping"


def test_both_roads_give_one_verdict_on_every_small_change() -> None:
    """Each byte of each message is replaced by nasty ones: proof and judge read the same, or refuse alike."""
    for message in SAMPLES:
        value = encode(message)
        fast, slow = _headers(message), _headers(message, FORCES_THE_SLOW_ROAD)
        for place in range(len(value)):
            for byte in (b'"', b"}", b"0", b"-", b"\\", b"A", b" ", b"\xff", b'a":1,"', b"\\u0000", b"1e9"):
                mutant = value[:place] + byte + value[place + 1 :]
                assert _verdict(fast, mutant) == _verdict(slow, mutant), mutant


def _verdict(headers: list[tuple[str, bytes]], value: bytes) -> str:
    try:
        return repr(decode_inbound(headers, KEY, value))
    except Refused as refused:
        return str(refused)


EVENTS = [
    Transitioned(SAGA_ID, "D", 1, "order-1", 4, "step_completed", None, "pending", "2025-01-31T12:00:00.000Z"),
    StartRefused("D", "order-1", "other_input", SAGA_ID),
    StartRefused("D", "order-1", "unknown_definition", None),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.ce_type)
def test_lifecycle_events_round_trip(event: Transitioned | StartRefused) -> None:
    """Read models get back exactly what the coordinator said, and refuse what it cannot have said."""
    headers = event_headers(event.ce_type, "id-1", SAGA_ID, NOW_MS)
    assert decode_event(headers, encode(event)) == event
    with pytest.raises(Refused):
        decode_event(reply_headers("SagaStepProgress", "i", "payment", SAGA_ID, NOW_MS), encode(event))
    with pytest.raises(Refused):
        decode_event(headers, encode({**json.loads(encode(event)), "definition": 5}))
