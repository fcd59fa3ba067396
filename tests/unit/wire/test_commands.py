"""Commands: what the coordinator writes is what a participant reads, and what it writes is the contract."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.wire.cloudevents import command_headers
from coordinator.wire.inbound import InboundCommand, decode_command
from coordinator.wire.messages import Command, Compensation
from coordinator.wire.outbound import encode_command, encode_compensation
from coordinator.wire.rfc3339 import format_ms
from coordinator.wire.strict_json import Refused, encode

SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
ACTION_ID = f"{SAGA_ID}:1:process_payment:action"
UNDO_ID = f"{SAGA_ID}:1:process_payment:compensation"
NOT_AFTER_MS = 1_760_000_060_000
PAYLOAD: dict[str, Any] = {"order_id": "ö-1", "note": '"direction":"compensation"', "items": [{"n": 1}]}
RESULT: dict[str, Any] = {"payment_id": "pay_1"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _action(payload: dict[str, Any] = PAYLOAD) -> bytes:
    return encode_command(SAGA_ID, "OrderFulfillment", "process_payment", ACTION_ID, 2, encode(payload), NOT_AFTER_MS)


def _undo(result: dict[str, Any] | None = RESULT) -> bytes:
    return encode_compensation(
        SAGA_ID,
        "OrderFulfillment",
        "process_payment",
        UNDO_ID,
        1,
        NOT_AFTER_MS,
        ACTION_ID,
        encode(PAYLOAD),
        "unknown" if result is None else "completed",
        None if result is None else encode(result),
    )


def _headers(**changes: bytes | None) -> list[tuple[str, bytes]]:
    headers = dict(command_headers("ProcessPayment", ACTION_ID, 2, SAGA_ID, 0, "saga.replies", 7, TRACE))
    for name, value in changes.items():
        key = name.replace("__", "-")
        headers.pop(key, None)
        if value is not None:
            headers[key] = value
    return list(headers.items())


def test_an_action_is_written_as_the_contract_says() -> None:
    """The value has exactly the published fields, in their order, compact."""
    assert _action({"a": 1}) == (
        b'{"saga_id":"0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57","saga_type":"OrderFulfillment",'
        b'"step_name":"process_payment","command_id":"0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57:1:process_payment:action",'
        b'"attempt":2,"direction":"action","payload":{"a":1},"not_after":"2025-10-09T08:54:20.000Z"}'
    )


def test_a_compensation_tells_what_it_undoes() -> None:
    """It adds the tombstone's key and the original's payload, outcome and result; its own payload is empty."""
    tree = json.loads(_undo())
    assert tree["payload"] == {}
    assert tree["compensates"] == ACTION_ID
    assert tree["original_payload"] == PAYLOAD
    assert (tree["original_outcome"], tree["original_result"]) == ("completed", RESULT)
    unknown = json.loads(_undo(None))
    assert (unknown["original_outcome"], unknown["original_result"]) == ("unknown", None)


@pytest.mark.parametrize("spelling", ["ours", "indented", "reordered"])
def test_a_participant_reads_what_was_written(spelling: str) -> None:
    """Both kinds of command round-trip in any spelling, with name, reply address, deadline and trace."""
    not_after = format_ms(NOT_AFTER_MS)
    shared = (SAGA_ID, "OrderFulfillment", "process_payment")
    action = Command(*shared, ACTION_ID, 2, "action", PAYLOAD, not_after)
    undo = Compensation(*shared, UNDO_ID, 1, "compensation", {}, not_after, ACTION_ID, PAYLOAD, "completed", RESULT)
    unsure = replace(undo, original_outcome="unknown", original_result=None)
    expected: list[tuple[bytes, Command | Compensation]] = [
        (_action(), action),
        (_undo(), undo),
        (_undo(None), unsure),
    ]
    for written, command in expected:
        value = written
        if spelling == "indented":
            value = json.dumps(json.loads(written), indent=1).encode()
        elif spelling == "reordered":
            value = encode(dict(reversed(json.loads(written).items())))
        ce_id, address = f"{ACTION_ID}#2", ("saga.replies", 7)
        assert decode_command(_headers(), value) == InboundCommand(
            command, "ProcessPayment", ce_id, "saga-coordinator", *address, NOT_AFTER_MS, TRACE
        )


def test_a_payload_of_any_allowed_depth_is_read() -> None:
    """Commands with payloads deeper than the proven levels are read all the same."""
    payload: dict[str, Any] = {"leaf": 1}
    for _ in range(28):
        payload = {"a": payload}
    command = decode_command(_headers(), _action(payload)).command
    assert command.payload == payload


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"reply__topic": None}, "reply-topic"),
        ({"reply__topic": b"no topic"}, "reply-topic"),
        ({"reply__topic": b"t" * 250}, "reply-topic"),
        ({"reply__partition": None}, "reply-partition"),
        ({"reply__partition": b"-1"}, "reply-partition"),
        ({"reply__partition": b"\xd9\xa1"}, "reply-partition"),
        ({"ce_type": None}, "ce_type"),
        ({"ce_source": None}, "ce_source"),
    ],
)
def test_a_command_that_cannot_be_answered_is_refused(headers: dict[str, bytes | None], path: str) -> None:
    """Without a usable reply address or name a command is refused, and the header is named."""
    with pytest.raises(Refused) as refused:
        decode_command(_headers(**headers), _action())
    assert (refused.value.reason, refused.value.path) == ("schema", path)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"direction": "sideways"}, "direction"),
        ({"direction": "compensation"}, "compensates"),
        ({"payload": None}, "payload"),
        ({"attempt": 0}, "attempt"),
        ({"not_after": "2025-02-30T00:00:00Z"}, "not_after"),
        ({"not_after": "2025-01-31 00:00:00"}, "not_after"),
        ({"saga_id": "x"}, "saga_id"),
    ],
)
def test_a_malformed_command_is_refused_by_the_field(changes: dict[str, Any], path: str) -> None:
    """A participant never acts on half a command; the refusal names the field."""
    with pytest.raises(Refused) as refused:
        decode_command(_headers(), encode({**json.loads(_action()), **changes}))
    assert (refused.value.reason, refused.value.path) == ("schema", path)


@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"a":1,"a":1}', b"\xff"])
def test_a_value_that_is_no_object_is_refused(value: bytes | None) -> None:
    """The strict reader guards participants as well."""
    with pytest.raises(Refused):
        decode_command(_headers(), value)
