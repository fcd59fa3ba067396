"""Declaring a participant, and reading what comes from its topic."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.wire.messages import Command
from participants.accounts.handlers import accounts
from participants.car.handlers import car
from participants.flight.handlers import flight
from participants.hotel.handlers import hotel
from participants.inventory.handlers import inventory
from participants.kit import Connection, Participant, Refused, read_payload
from participants.kit.inbox import RAW_BYTES_MAX, DeadLetter, read
from participants.ledger.handlers import ledger
from participants.notification.handlers import notification
from participants.payment.handlers import payment
from participants.shipping.handlers import shipping

TABLES = Path("tables.sql")


class Wish(msgspec.Struct):
    """What a handler reads of a payload."""

    order_id: str


class Record(msgspec.Struct):
    """A Kafka record."""

    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = None
    topic: str = "payment.commands"
    partition: int = 3
    offset: int = 7


@pytest.mark.parametrize("name", ["", "Payment", "pay ment", 'p"; drop schema public; --', "a" * 33])
def test_name_is_safe_everywhere(name: str) -> None:
    """A participant's name is a topic, a group and a schema: anything else is refused where it is declared."""
    with pytest.raises(ValueError, match="participant name"):
        Participant(name, tables=TABLES)


def test_memory_is_not_too_short() -> None:
    """A memory shorter than redelivery takes is refused where it is declared."""
    with pytest.raises(ValueError, match="memory"):
        Participant("p", tables=TABLES, memory=timedelta(seconds=1))


def test_two_handlers_for_one_command_are_a_mistake() -> None:
    """A command has one handler per direction."""
    participant = Participant("p", tables=TABLES)

    async def handle(command: Any, connection: Connection) -> None: ...

    participant.handles("Do")(handle)
    participant.compensates("Do")(handle)
    with pytest.raises(ValueError, match="two handlers for action Do"):
        participant.handles("Do")(handle)


@pytest.mark.parametrize(
    ("participant", "action", "compensation"),
    [
        (inventory, "ReserveItems", "ReleaseReservation"),
        (payment, "ProcessPayment", "RefundPayment"),
        (shipping, "CreateShipment", "CancelShipment"),
        (notification, "SendOrderConfirmation", "SendCancellationNotice"),
        (accounts, "DebitAccount", "ReturnDebit"),
        (ledger, "RecordTransfer", "VoidTransfer"),
        (hotel, "BookRoom", "CancelRoom"),
        (flight, "BookSeat", "CancelSeat"),
        (car, "RentCar", "CancelRental"),
    ],
)
def test_samples_know_their_commands(participant: Participant, action: str, compensation: str) -> None:
    """Each sample has a handler for its action and one for its compensation, and tables to work on."""
    assert participant.handler(action, "action") is not None
    assert participant.handler(compensation, "compensation") is not None
    assert participant.handler(action, "compensation") is None
    assert participant.tables.is_file()


def test_payload_is_read_tolerantly_and_strictly() -> None:
    """Unknown fields are left alone, wrong types are a refusal that names the place."""
    command = Command("s", "T", "step", "a", 1, "action", {"order_id": "o", "else": 1}, "")
    assert read_payload(command, Wish) == Wish("o")
    refusal = read_payload(msgspec.structs.replace(command, payload={"order_id": 5}), Wish)
    assert isinstance(refusal, Refused)
    assert (refusal.code, "order_id" in refusal.message) == ("payload_invalid", True)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "empty"), (b"", "empty"), (b"\xff", "not_json"), (b"[]", "not_object"), (b"{}", "schema")],
)
def test_record_that_is_no_command_is_kept(value: bytes | None, reason: str) -> None:
    """Whatever is no command becomes a dead letter with its place and a reason word."""
    letter = read(Record(value))
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.partition, letter.offset, letter.value) == ("payment.commands", 3, 7, value)
    assert letter.reason == reason


def test_dead_letter_is_bounded_and_storable() -> None:
    """A dead letter of a huge record with strange headers fits into Postgres."""
    headers = tuple((f"h{number}\0\ud800", b"\xff\x00" * 1_000) for number in range(1_000))
    letter = read(Record(b"x" * 1_000_000, headers, key=b"k" * 1_000_000))
    assert isinstance(letter, DeadLetter)
    assert letter.value is not None
    assert letter.key is not None
    assert (len(letter.value), len(letter.key)) == (RAW_BYTES_MAX, RAW_BYTES_MAX)
    assert "\0" not in letter.headers
    assert len(letter.headers.encode()) < 1_000_000


def test_two_functions_that_lock_are_a_mistake() -> None:
    """A participant locks in one place, or the order would not be one."""
    participant = Participant("p", tables=TABLES)

    async def lock(commands: Any, connection: Connection) -> None: ...

    participant.locks(lock)
    with pytest.raises(ValueError, match="two functions that lock"):
        participant.locks(lock)
