"""A small library for participants: write handlers, get every duty of the wire contract.

    payment = Participant("payment", tables=Path(__file__).with_name("tables.sql"))

    @payment.handles("ProcessPayment")
    async def charge(command, connection): ...      # one dict back, or Refused, or Retry

    @payment.compensates("RefundPayment")
    async def refund(command, connection): ...      # Effect.UNDONE or Effect.NOTHING_TO_UNDO

The same handlers serve sagas without a coordinator, when others' events are named that call for them:

    payment.reacts("InventoryReserved", of="inventory", action="ProcessPayment", emits="PaymentProcessed", ...)
    payment.walks_back("ShipmentFailed", of="shipping", action="ProcessPayment", compensation="RefundPayment", ...)

Effect, remembered command id and reply are one Postgres transaction. What the kit promises in your name:

    the same command again        the remembered reply again, no second effect
    an undo before its action     a tombstone: nothing to undo, and the late action is refused
    an action past `not_after`    refused, and that is remembered
    a failure that may pass       rolled back, never remembered
    an undo that fails            rolled back, never remembered, so that it can succeed later
    a record nobody can read      a dead letter; the records around it are served

A handler may run more than once for one command (a batch is rolled back and done again): it must do nothing that its
connection's transaction cannot take back. `handles_many` is `handles` for whole batches, where speed matters; `locks`
is for rows that several handlers change, so that two processes cannot deadlock over them.

Floors, from the ground up: outcomes, settings, statements < participant, inbox, duties < replies < reactions, faults <
database < ledger, running < work, publisher, salvage < outbox, consumer < runner.
"""

from coordinator.wire.messages import Command, Compensation
from participants.kit.outcomes import Effect, Outcome, Refused, Retry
from participants.kit.participant import Connection, Participant, read_payload
from participants.kit.statements import Statements

__all__ = [
    "Command",
    "Compensation",
    "Connection",
    "Effect",
    "Outcome",
    "Participant",
    "Refused",
    "Retry",
    "Statements",
    "read_payload",
]
