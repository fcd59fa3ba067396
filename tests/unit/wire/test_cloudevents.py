"""Headers: complete, in the contract's spelling, and the same bytes whatever was cached before."""

from __future__ import annotations

import pytest

from coordinator.wire import cloudevents
from coordinator.wire.cloudevents import open_envelope
from coordinator.wire.strict_json import Refused, encode

SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
COMMAND_ID = f"{SAGA_ID}:1:process_payment:action"
NOW_MS = 1_760_000_000_123
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ALWAYS = {
    "ce_specversion": b"1.0",
    "ce_subject": SAGA_ID.encode(),
    "ce_time": b"2025-10-09T08:53:20.123Z",
    "content-type": b"application/json",
}


def test_a_command_carries_every_header_of_the_contract() -> None:
    """Name, attempt's id, coordinator, saga, time, reply address; the trace only when there is one."""
    headers = cloudevents.command_headers("ProcessPayment", COMMAND_ID, 3, SAGA_ID, NOW_MS, "saga.replies", 11, TRACE)
    assert dict(headers) == ALWAYS | {
        "ce_id": f"{COMMAND_ID}#3".encode(),
        "ce_type": b"ProcessPayment",
        "ce_source": b"saga-coordinator",
        "reply-topic": b"saga.replies",
        "reply-partition": b"11",
        "traceparent": TRACE.encode(),
    }
    assert len(headers) == len(dict(headers))
    untraced = cloudevents.command_headers("ProcessPayment", COMMAND_ID, 3, SAGA_ID, NOW_MS, "saga.replies", 11)
    assert untraced == headers[:-1]


def test_a_reply_carries_every_header_of_the_contract() -> None:
    """A reply says who speaks, about which saga, and what kind of answer it is."""
    reply_id = cloudevents.reply_id(COMMAND_ID)
    headers = cloudevents.reply_headers("SagaStepCompleted", reply_id, "payment", SAGA_ID, NOW_MS, TRACE)
    assert dict(headers) == ALWAYS | {
        "ce_id": f"{COMMAND_ID}#reply".encode(),
        "ce_type": b"SagaStepCompleted",
        "ce_source": b"payment",
        "traceparent": TRACE.encode(),
    }


def test_events_speak_for_the_coordinator_and_start_requests_have_no_subject() -> None:
    """An event's source is the coordinator; who asks for a saga cannot know its id yet."""
    event_id = cloudevents.transition_id(SAGA_ID, 4)
    event = dict(cloudevents.event_headers("SagaTransitioned", event_id, SAGA_ID, NOW_MS))
    assert (event["ce_id"], event["ce_source"]) == (f"{SAGA_ID}:4".encode(), b"saga-coordinator")
    start = dict(cloudevents.message_headers("SagaStartRequested", "r-1", "shop", None, NOW_MS))
    assert "ce_subject" not in start
    assert "traceparent" not in start


def test_headers_are_found_by_their_last_value() -> None:
    """`header` agrees with what decoding sees when a header is repeated, and says None when there is none."""
    headers = [("a", b"1"), ("b", b"2"), ("a", b"3")]
    assert cloudevents.header(headers, "a") == b"3"
    assert cloudevents.header(headers, "A") is None


@pytest.mark.parametrize(
    "content_type",
    [None, b"", b"application/json", b"APPLICATION/JSON", b"text/plain", b"application/vnd.x+json; v=1", b"\xff"],
)
def test_any_other_content_type_means_binary_mode(content_type: bytes | None) -> None:
    """Only CloudEvents' own content types say structured; with all others the value itself is the data."""
    headers = cloudevents.message_headers("OrderPlaced", "e-1", "shop", None, NOW_MS)
    if content_type is not None:
        headers.append(("content-type", content_type))
    envelope = open_envelope(headers, b'{"order_id":"o-1"}')
    assert (envelope.ce_type, envelope.ce_id, envelope.source) == ("OrderPlaced", "e-1", "shop")
    assert envelope.data == {"order_id": "o-1"}


def test_a_structured_envelope_needs_no_header_but_its_content_type() -> None:
    """Domain events of choreographed sagas may come in structured mode, letter case aside."""
    value = encode({"specversion": "1.0", "type": "T", "id": "1", "source": "s", "data": {"a": 1}})
    envelope = open_envelope([("content-type", b"Application/CloudEvents+JSON;charset=utf-8")], value)
    assert (envelope.ce_type, envelope.data, envelope.traceparent) == ("T", {"a": 1}, None)


def test_a_larger_limit_can_be_given() -> None:
    """The size limit is the caller's to set, and is kept."""
    headers = cloudevents.message_headers("T", "1", "s", None, NOW_MS)
    with pytest.raises(Refused, match="too_large"):
        open_envelope(headers, b'{"a":1}', max_bytes=6)
    assert open_envelope(headers, b'{"a":1}', max_bytes=7).data == {"a": 1}
