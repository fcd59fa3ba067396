"""The sagas of a soak: those that ship, as they are, and the same with so little patience that faults show in seconds.

A coordinator of a soak loads `definitions`; the plans are what the checker knows of them, without asking it.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.saga.definition import Retry, SagaDefinition, seconds
from sagas import definitions as shipped
from tests.checker.evidence import Plan, PlannedStep
from tests.e2e.orders import STEPS

PARTICIPANTS = (
    *("inventory", "payment", "shipping", "notification"),
    *("accounts", "ledger"),
    *("hotel", "flight", "car"),
)
TIMEOUT_S = 4.0
APPROVAL_S = 30.0
_RETRY = Retry(attempts=3, base=seconds(0.1), cap=seconds(1))
_UNDO_RETRY = Retry(attempts=5, base=seconds(0.1), cap=seconds(1))
_RECOVERY = Retry(attempts=3, base=seconds(1), cap=seconds(4))

TRANSFER_STEPS = (
    PlannedStep("debit_source", "accounts", "DebitAccount", "ReturnDebit"),
    PlannedStep("record_transfer", "ledger", "RecordTransfer", "VoidTransfer"),
    PlannedStep("credit_destination", "accounts", "CreditAccount", ""),
    PlannedStep("send_notice", "notification", "SendTransferNotice", ""),
)
TRIP_STEPS = (
    PlannedStep("book_room", "hotel", "BookRoom", "CancelRoom", "bookings"),
    PlannedStep("book_seats", "flight", "BookSeat", "CancelSeat", "bookings"),
    PlannedStep("rent_car", "car", "RentCar", "CancelRental", "bookings"),
    PlannedStep("approve_trip", "", "", ""),
    PlannedStep("take_payment", "payment", "ProcessPayment", ""),
    PlannedStep("send_itinerary", "notification", "SendItinerary", ""),
)
FAMILIES = {"OrderFulfillment": STEPS, "BankTransfer": TRANSFER_STEPS, "TravelBooking": TRIP_STEPS}


def hasty(name: str) -> str:
    """The name of a definition's impatient twin."""
    return f"Hasty{name}"


def _impatient(definition: SagaDefinition) -> SagaDefinition:
    steps = tuple(
        replace(step, timeout=seconds(APPROVAL_S))
        if step.external
        else replace(
            step,
            timeout=seconds(TIMEOUT_S),
            compensation_timeout=seconds(TIMEOUT_S),
            retry=_RETRY,
            compensation_retry=_UNDO_RETRY,
            progress_max=None,
        )
        for step in definition.steps
    )
    return replace(definition, name=hasty(definition.name), steps=steps, recovery=_RECOVERY)


definitions = (*shipped, *(_impatient(definition) for definition in shipped))


def plan(prefix: str) -> Plan:
    """The steps of every saga of a soak."""
    return Plan(prefix, STEPS, FAMILIES | {hasty(name): steps for name, steps in FAMILIES.items()})
