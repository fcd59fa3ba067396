"""Inputs for decoders: good records of every kind, and what becomes of them under many small changes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from coordinator.wire import messages as m
from coordinator.wire.cloudevents import command_headers, message_headers
from coordinator.wire.outbound import encode_command, encode_compensation
from coordinator.wire.strict_json import MAX_VALUE_BYTES, encode
from tests.prove.kept import Input

SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
KEY = SAGA_ID.encode()
COMMAND_ID = f"{SAGA_ID}:1:pay:action"
NOW_MS = 1_760_000_000_123
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ECHO = (SAGA_ID, "pay", COMMAND_ID, 2)
ERROR = m.StepError("declined", "Sorry, «no».", retryable=False)
TREE: dict[str, Any] = {"id": "p-1", "cents": 12_999, "rate": 0.25, "tags": ["ä", None, {"k": -1}]}

TOKENS = [
    *(b"%c" % byte for byte in b'"\\{}[],:0123-+.eE \n\tnu/'),
    *(b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc3\xa9"),
    *(b"\\u0000", b"\\u0061", b"\\ud800", b"\\ud83d\\ude00", b"\\\\", b'\\"', b"\\u"),
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"1E5", b"1.0", b"9223372036854775808", b"-9223372036854775809"),
    *(b"1" * 25, b"[" * 40, b'{"a":' * 33, b"]]]]", b"null", b"true", b"{}", b"[]", b'""', b"/**/"),
    *(b'"attempt":2,', b'"saga_id":null,', b'{"k":1,"k":2}', b'"direction":"compensation"', b"2024-02-30T25:61:00Z"),
]
HEADER_VALUES: list[Any] = [
    *(None, b"", b"1.0", b"1.9", b"2.0", b"1", b"x" * 512, b"x" * 513, b"\xff", b"\x00", b"a\nb", TRACE.encode()),
    *(b"application/json", b"application/cloudevents+json", b"application/cloudevents-batch+json", b"text/plain"),
    *(b"saga-coordinator", b"payment", b"saga.replies", b"0", b"-1", b"999999999", b"9999999999"),
    *(cls.ce_type.encode() for cls in (*m.INBOUND_TYPES, *m.EVENT_TYPES)),
]
HEADER_NAMES = [
    *("ce_specversion", "ce_schemaversion", "ce_type", "ce_id", "ce_source", "ce_subject", "ce_time", "content-type"),
    *("reply-topic", "reply-partition", "traceparent", "", "baggage"),
]


def _samples() -> list[Input]:
    said: list[Any] = [
        m.StepCompleted(*ECHO, TREE),
        m.StepFailed(*ECHO, ERROR),
        m.CompensationCompleted(*ECHO, "undone"),
        m.CompensationFailed(*ECHO, ERROR),
        m.StepProgress(*ECHO),
        m.ExternalCompleted(SAGA_ID, "approve", TREE),
        m.ExternalFailed(SAGA_ID, "approve", m.ExternalError("too_dear", "no")),
        m.StartRequested(definition="Order", version=3, input=TREE, start_at="2025-01-31T12:00:00+01:00"),
        m.Touched(SAGA_ID),
        m.Transitioned(SAGA_ID, "Order", 1, "o-1", 4, "StepCompleted", "pay", "pending", "2025-01-31T12:00:00.000Z"),
        m.StartRefused("Order", "o-1", "other_input", SAGA_ID),
    ]
    made = []
    for each in said:
        source = "saga-coordinator" if isinstance(each, m.Touched) else "payment"
        binary = message_headers(each.ce_type, "i-1", source, SAGA_ID, NOW_MS, TRACE)
        envelope = {"specversion": "1.0", "type": each.ce_type, "id": "i-1", "source": source, "data": each}
        structured = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
        made += [Input(tuple(binary), KEY, encode(each)), Input(structured, KEY, encode(envelope))]
    headers = tuple(command_headers("Pay", COMMAND_ID, 2, SAGA_ID, NOW_MS, "saga.replies", 3, TRACE))
    action = encode_command(SAGA_ID, "Order", "pay", COMMAND_ID, 2, encode(TREE), NOW_MS)
    undo = encode_compensation(
        *(SAGA_ID, "Order", "pay", COMMAND_ID, 2, NOW_MS, COMMAND_ID, encode(TREE)), "unknown", None
    )
    return [
        *made,
        Input(headers, KEY, action),
        Input(headers, KEY, undo),
        Input(headers, None, b"2025-01-31T12:00:00Z"),
    ]


SAMPLES = _samples()

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.dictionaries(
    st.sampled_from(
        [
            *("saga_id", "step_name", "command_id", "attempt", "result", "error", "effect", "definition", "version"),
            *("input", "start_at", "payload", "not_after", "direction", "data", "type", "id", "source", "at", "status"),
            *("code", "message", "retryable", "compensates", "original_payload", "original_result", "x"),
        ]
    ),
    _TREES,
    max_size=4,
)


class Origin(msgspec.Struct, frozen=True):
    """What a family of inputs is made of: two records that are known, fields and bytes of no origin, and a number."""

    base: Input
    other: Input
    fields: dict[str, Any]
    raw: bytes
    number: int


def origins(corpus: Sequence[Input]) -> st.SearchStrategy[Origin]:
    """Draw origins; of `corpus` and of good records."""
    known = st.sampled_from([*SAMPLES, *corpus])
    return st.builds(Origin, known, known, _FIELDS, st.binary(max_size=60), st.integers(0, 2**32 - 1))


def family(origin: Origin, count: int) -> Iterator[Input]:
    """Make inputs of an origin: the record as it is, and then what becomes of it under some small changes."""
    yield origin.base
    dice = random.Random(origin.number)
    for _ in range(count - 1):
        headers, key, value = list(origin.base.headers), origin.base.key, origin.base.value
        match dice.randrange(10):
            case 0:
                value = dice.choice([None, origin.raw])
            case 1:
                value = encode(origin.fields)
            case 2:
                value = origin.other.value
            case 3:
                headers = list(origin.other.headers)
        for _ in range(dice.choice([0, 1, 1, 1, 2, 3])):
            value = _changed(dice, value, origin)
        for _ in range(dice.choice([0, 0, 0, 1, 2])):
            headers = _with_other_headers(dice, headers, origin)
        if not dice.randrange(8):
            key = dice.choice([None, origin.raw, b""])
        yield Input(tuple(headers), key, value)


def _changed(dice: random.Random, value: bytes | None, origin: Origin) -> bytes | None:
    """Change a value once: a token more, a piece less, a piece twice, other bytes, other fields, or far too long."""
    if value is None:
        return None
    start = dice.randint(0, len(value))
    end = min(len(value), start + dice.randint(0, 12))
    match dice.randrange(7):
        case 0:
            return value[:start] + dice.choice(TOKENS) + value[start:]
        case 1:
            return value[:start] + value[end:]
        case 2:
            return value[:end] + value[start:]
        case 3:
            return value[:start] + dice.randbytes(dice.randint(1, 4)) + value[end:]
        case 4:
            return value[:start] + dice.choice(TOKENS) + value[end:]
        case 5 if value.startswith(b"{") and origin.fields:
            fields = encode(origin.fields)[1:-1]
            return b"{" + fields + (b"" if value.startswith(b"{}") else b",") + value[1:]
        case 6 if not dice.randrange(100):
            return value + b" " * (MAX_VALUE_BYTES - len(value) + dice.randint(-1, 1))
    return value


def _with_other_headers(dice: random.Random, headers: list[tuple[str, Any]], origin: Origin) -> list[tuple[str, Any]]:
    if headers and dice.randrange(2):
        left = dice.randrange(len(headers))
        return headers[:left] + headers[left + 1 :]
    return [*headers, (dice.choice(HEADER_NAMES), dice.choice([*HEADER_VALUES, origin.raw]))]
