"""What the outbox gives back is what was sent at first."""

from __future__ import annotations

import msgspec

from coordinator.engine.cache import ActiveSaga
from coordinator.engine.messages import CommandBuilder, unsent_record
from coordinator.engine.topology import Topology
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import IssueCommand
from coordinator.saga.machine import begin
from coordinator.saga.model import Direction
from coordinator.store.batch import Token
from coordinator.store.postgres import UnsentMessage
from coordinator.wire.inbound import decode_command
from coordinator.wire.outbound import CommandTemplate, encode_command
from sagas import definitions

NOW_MS = 1_795_440_497_196
SAGA_ID = "01932a7c-0000-7000-8000-000000000001"
DEFINITION: SagaDefinition = definitions[0]


def topology() -> Topology:
    counts = {f"saga.{participant}.commands": 8 for participant in DEFINITION.participants}
    return Topology("saga.", {**counts, "saga.replies": 16, "saga.events": 8, "saga.dlq": 1})


def active() -> ActiveSaga:
    begun = begin(DEFINITION, SAGA_ID, now_ms=NOW_MS)
    return ActiveSaga(begun.saga, DEFINITION, 1, 11, "order-1", None, b'{"order_id":"order-1"}', NOW_MS)


def test_a_template_writes_what_the_encoder_writes() -> None:
    """The fast way and the plain way give the same bytes."""
    template = CommandTemplate("OrderFulfillment", "process_payment")
    fast = template.encode(SAGA_ID.encode(), b"id", 2, b'{"a":1}', b"2026-11-23T13:28:17.196Z")
    assert fast == encode_command(SAGA_ID, "OrderFulfillment", "process_payment", "id", 2, b'{"a":1}', NOW_MS)


def test_a_command_from_the_outbox_is_the_command_that_was_built() -> None:
    """The sweeper's copy has the same topic, partition, key, headers and value."""
    saga, builder = active(), CommandBuilder(topology())
    for direction in Direction:
        command = builder.build(saga, saga.saga, IssueCommand(1, direction, 3), NOW_MS)
        token = Token(SAGA_ID, 4, 0)
        first = builder.record(command, saga, token, NOW_MS)
        row = UnsentMessage(
            token, 11, command.destination, command.partition, command.type, None, command.payload, NOW_MS
        )
        assert msgspec.structs.astuple(unsent_record(topology(), row)) == msgspec.structs.astuple(first)


def test_a_command_says_where_its_reply_goes() -> None:
    """The reply comes back to the saga's own partition, whatever partitioner the participant's client has."""
    saga, builder = active(), CommandBuilder(topology())
    command = builder.build(saga, saga.saga, IssueCommand(0, Direction.ACTION, 1), NOW_MS)
    sent = builder.record(command, saga, Token(SAGA_ID, 1, 0), NOW_MS)
    read = decode_command(sent.headers, sent.value)
    assert (read.reply_topic, read.reply_partition) == ("saga.replies", 11)
    assert (sent.partition, read.command.payload) == (3, {"order_id": "order-1"})
