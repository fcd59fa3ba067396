"""Whatever a topic delivers, decoding answers with a message or with `Refused`: nothing else may stop a batch."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.wire.cloudevents import command_headers, reply_headers
from coordinator.wire.inbound import decode_command, decode_event, decode_inbound
from coordinator.wire.messages import INBOUND_TYPES, StepCompleted
from coordinator.wire.outbound import encode_command
from coordinator.wire.strict_json import MAX_VALUE_BYTES, Refused, encode

SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
GOOD: dict[str, Any] = {
    "saga_id": SAGA_ID,
    "step_name": "pay",
    "command_id": "c-1",
    "attempt": 1,
    "result": {},
    "error": {"code": "c", "message": "m", "retryable": True},
    "effect": "undone",
    "definition": "D",
    "input": {},
}
HEADERS = [
    *command_headers("Pay", "c-1", 1, SAGA_ID, 0, "saga.replies", 1),
    *reply_headers("SagaStepCompleted", "i", "payment", SAGA_ID, 0, "00-x"),
]
_NAMES = st.sampled_from(sorted({name for name, _ in HEADERS} | {"ce_schemaversion", "baggage", ""}))
_CONTENT = st.sampled_from([b"application/cloudevents+json", b"application/cloudevents", b"1.0", b"2.0", b"1"])
_TYPES = st.sampled_from([cls.ce_type.encode() for cls in INBOUND_TYPES])
_VALUES = st.one_of(st.none(), st.binary(max_size=60), _CONTENT, _TYPES)
_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-1, 2), st.floats(0, 1), st.text(max_size=40))
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
_FIELDS = st.dictionaries(st.sampled_from([*GOOD, "data", "type", "id", "source", "specversion"]), _TREES)


@settings(max_examples=120, deadline=None)
@given(
    headers=st.lists(st.tuples(_NAMES, _VALUES), max_size=6),
    fields=_FIELDS,
    raw=st.one_of(st.just(None), st.binary(max_size=40)),
    key=st.one_of(st.none(), st.binary(max_size=40)),
)
def test_decoding_raises_nothing_but_refused(
    headers: list[tuple[str, Any]], fields: dict[str, Any], raw: bytes | None, key: bytes | None
) -> None:
    """Null headers, repeated headers, wrong fields and random bytes end in `Refused` or in a message."""
    tree = GOOD | fields
    value = encode(tree)
    envelope = encode({"type": "SagaStepCompleted", "id": "i", "source": "s", **fields, "data": tree})
    command = encode_command(SAGA_ID, "D", "pay", "c-1", 1, encode(fields), 0)
    for candidate in (value, envelope, command, raw):
        for some in (headers, HEADERS + headers):
            with suppress(Refused):
                decode_inbound(some, key, candidate)
            with suppress(Refused):
                decode_command(some, candidate)
            with suppress(Refused):
                decode_event(some, candidate)


def test_a_value_beyond_the_limit_is_refused_and_the_next_one_read() -> None:
    """K14: in every other respect the large reply is right; only its size speaks against it."""
    headers = reply_headers("SagaStepCompleted", "i", "payment", SAGA_ID, 0)
    frame = len(encode(StepCompleted(SAGA_ID, "pay", "c-1", 1, {"x": ""})))
    for excess in (0, 1, 3_000_000):
        text = "x" * (MAX_VALUE_BYTES - frame + excess)
        value = encode(StepCompleted(SAGA_ID, "pay", "c-1", 1, {"x": text}))
        if excess:
            with pytest.raises(Refused, match="too_large"):
                decode_inbound(headers, None, value)
        else:
            assert decode_inbound(headers, None, value).body_json == encode({"x": text})
