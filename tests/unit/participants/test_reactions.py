"""Reacting to events: how a reaction is declared, how an event is read, and what is said after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.wire.cloudevents import header, message_headers, open_envelope
from coordinator.wire.messages import (
    Command,
    Compensation,
    CompensationCompleted,
    CompensationFailed,
    Reply,
    StepCompleted,
    StepError,
    StepFailed,
)
from coordinator.wire.murmur2 import partition_of
from coordinator.wire.strict_json import Refused
from participants.kit import Connection, Outcome, Participant, outcomes
from participants.kit.duties import COMPENSATED_ALREADY, Duty, Memory, Result, duty
from participants.kit.reactions import (
    EVENT_BYTES_MAX,
    InboundEvent,
    check_said,
    dump_headers,
    emit,
    load_headers,
    may_pass,
    read_event,
)
from participants.payment.handlers import payment
from tests.unit.participants.test_participant import Record

TOPIC = "payment.events"
PARTITIONS = 5
ORDER: dict[str, Any] = {"order_id": "o-1", "amount_cents": 5, "inventory": {"reservation_id": "rsv_1"}}


def record(ce_type: str, data: dict[str, Any], source: str = "inventory") -> Record:
    """Build an event's record."""
    headers = tuple(message_headers(ce_type, "any id", source, "o-1", 0, None))
    return Record(msgspec.json.encode(data), headers, topic=f"{source}.events")


def inbound(ce_type: str = "InventoryReserved", source: str = "inventory", **data: Any) -> InboundEvent:
    """Read an event as payment does."""
    found = read_event(record(ce_type, {**ORDER, **data}, source), payment, source, TOPIC, PARTITIONS)
    assert found is not None
    return found


def said(event: InboundEvent, reply: Reply) -> tuple[str, dict[str, Any]] | None:
    """Say which event an answer becomes, and what its data is."""
    one = emit(event, reply, 0)
    if one is None:
        return None
    return (header(one.headers, "ce_type") or b"").decode(), msgspec.json.decode(one.value)


def failed(code: str, *, retryable: bool = False) -> StepFailed:
    """Build a failure."""
    return StepFailed("o-1", "ProcessPayment", "o-1:ProcessPayment", 1, StepError(code, "why", retryable))


def test_an_event_becomes_the_command_of_its_reaction() -> None:
    """Its id is made of the business key and the action; the payload is the event's data; it never expires."""
    event = inbound()
    assert isinstance(event.command, Command)
    assert (event.name, event.command.command_id) == ("ProcessPayment", "o-1:ProcessPayment")
    assert event.command.payload == ORDER
    assert event.not_after_ms > 250_000_000_000_000
    assert (event.reply_topic, event.reply_partition) == (TOPIC, partition_of(b"o-1", PARTITIONS))


def test_a_walk_back_is_about_the_action() -> None:
    """It compensates the id that the action has, and hands over what this participant said then."""
    event = inbound("ShipmentFailed", "shipping", payment={"payment_id": "pay_1"})
    assert isinstance(event.command, Compensation)
    assert (event.name, event.command.compensates) == ("RefundPayment", "o-1:ProcessPayment")
    assert event.command.original_result == {"payment_id": "pay_1"}


@pytest.mark.parametrize(
    ("mine", "outcome"),
    [
        ({"payment": {"payment_id": "pay_1"}}, "completed"),
        ({"payment": {"error": {"code": "card_declined", "message": "no"}}}, "unknown"),
        ({"payment": {"effect": "undone"}}, "unknown"),
        ({"payment": "paid"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_an_event_may_prove_what_is_forgotten(mine: dict[str, Any], outcome: str) -> None:
    """What an event says we did is undone, even when our memory of it has ended; otherwise there is nothing to undo."""
    event = inbound("ShipmentFailed", "shipping", **mine)
    assert isinstance(event.command, Compensation)
    assert event.command.original_outcome == outcome
    wanted = Duty.RUN if outcome == "completed" else Duty.NOTHING_TO_UNDO
    assert duty(event, Memory("o-1:ProcessPayment", "o-1"), 0) is wanted


def test_what_is_none_of_our_business_is_left_alone() -> None:
    """Other types of the same topic are no dead letters."""
    assert read_event(record("InventoryCounted", {}), payment, "inventory", TOPIC, PARTITIONS) is None


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (record("InventoryReserved", {}), "schema"),
        (record("InventoryReserved", {"order_id": 7}), "schema"),
        (record("InventoryReserved", {"order_id": ""}), "schema"),
        (record("InventoryReserved", {"order_id": "x" * 201}), "schema"),
        (record("InventoryReserved", ORDER, source="shipping"), "not_owner"),
        (Record(b"{", tuple(message_headers("InventoryReserved", "i", "inventory", None, 0, None))), "not_json"),
        (Record(None, ()), "empty"),
        (record("InventoryReserved", {**ORDER, "note": "x" * EVENT_BYTES_MAX}), "too_large"),
    ],
)
def test_what_cannot_be_read_says_why(one: Record, reason: str) -> None:
    """An event without a business key, from the wrong source, or that is no JSON is refused with a reason word."""
    with pytest.raises(Refused) as refused:
        read_event(one, payment, "inventory", TOPIC, PARTITIONS)
    assert refused.value.reason == reason


def test_what_is_said_carries_all_that_was_said() -> None:
    """The answer stands under the participant's own name, beside what came in."""
    done = StepCompleted("o-1", "s", "c", 1, {"payment_id": "pay_1"})
    assert said(inbound(), done) == ("PaymentProcessed", {**ORDER, "payment": {"payment_id": "pay_1"}})
    undone = CompensationCompleted("o-1", "s", "c", 1, "undone")
    back = inbound("ShipmentFailed", "shipping", payment={"payment_id": "pay_1"})
    assert said(back, undone) == ("PaymentRefunded", {**ORDER, "payment": {"effect": "undone"}})
    error = {"code": "card_declined", "message": "why"}
    assert said(inbound(), failed("card_declined")) == ("PaymentFailed", {**ORDER, "payment": {"error": error}})


def test_an_event_has_one_id_for_ever() -> None:
    """It is made of the business key and the type, so saying it again is recognised by everybody."""
    one = emit(inbound(), StepCompleted("o-1", "s", "c", 1, {}), 0)
    assert one is not None
    assert [header(one.headers, name) for name in ("ce_id", "ce_source", "ce_subject")] == [
        *(b"o-1:PaymentProcessed", b"payment", b"o-1")
    ]
    assert one.key == b"o-1"


def test_an_action_whose_undo_came_first_says_nothing() -> None:
    """The undo has said it already; a second voice would contradict it."""
    assert said(inbound(), failed(COMPENSATED_ALREADY.code)) is None


def test_what_may_pass_is_not_said_but_done_again() -> None:
    """A failure that is not for good is no event; a failed undo is owed whatever was said about it."""
    later = failed("not_now", retryable=True)
    no_undo = CompensationFailed("o-1", "s", "c", 1, StepError("no", "why", False))
    assert said(inbound(), later) is None
    assert said(inbound("ShipmentFailed", "shipping"), no_undo) is None
    assert may_pass(later)
    assert may_pass(no_undo)
    assert not may_pass(failed("card_declined"))


def test_a_reaction_needs_its_handlers() -> None:
    """A reaction without a handler, and a second one to the same event, are refused where they are declared."""
    clerk = Participant("clerk", tables=Path("tables.sql"))

    @clerk.handles("File")
    async def file(command: Command, connection: Connection) -> Outcome: ...

    clerk.reacts("Written", of="author", action="File", emits="Filed")
    with pytest.raises(ValueError, match="two reactions to Written of author"):
        clerk.reacts("Written", of="author", action="File", emits="Filed")
    with pytest.raises(ValueError, match="no handler for action Shred, which Banned needs"):
        clerk.reacts("Banned", of="court", action="Shred", emits="Shredded")
    with pytest.raises(ValueError, match="no handler for compensation Unfile, which Banned needs"):
        clerk.walks_back("Banned", of="court", action="File", compensation="Unfile", emits="Unfiled")
    assert clerk.sources == ("author",)


def test_headers_are_kept_whatever_they_hold() -> None:
    """An event that is handled again later has the headers that it came with."""
    headers: Any = (("ce_type", b"X"), ("odd", b"\xff\x00"), ("odd", b""), ("odd", None))
    assert load_headers(dump_headers(headers)) == headers


def test_what_no_reader_would_take_is_refused_in_time() -> None:
    """A result that makes the event too large, or too deep, is a refusal; and the refusal can be read by everybody."""
    event = inbound(note="x" * (EVENT_BYTES_MAX - 1000))
    check_said(event, Result('{"payment_id":"pay_1"}'))
    with pytest.raises(outcomes.Refused) as refused:
        check_said(event, Result(f'{{"receipt":"{"x" * 1000}"}}'))
    assert (refused.value.code, refused.value.message.split(":")[0]) == ("too_large", "PaymentProcessed")
    with pytest.raises(outcomes.Refused, match="too_deep"):
        check_said(inbound(), Result('{"a":' * 32 + "1" + "}" * 32))
    worst = StepFailed("o-1", "s", "o-1:s", 1, StepError("\x01" * 100, "\x01" * 2_000, False))
    one = emit(event, worst, 0)
    assert one is not None
    assert "error" in open_envelope(one.headers, one.value).data["payment"]
