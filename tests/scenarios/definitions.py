"""The definitions that the scenarios beside this file tell of: those that ship, and three small ones.

    Transfer        debit_source -> record_transfer -> credit_destination (pivot) -> send_notice (retriable)
    Trip            book_hotel | book_flight | rent_car -> approval (from outside, when it is dear)
                    -> take_payment (pivot) -> send_itinerary (retriable)
    PartyPlanning   book_hall | approval (from outside) -> order_food (pivot)
                    -> send_mail (retriable) | thanks (from outside, retriable), each when wanted

The small ones have the shapes of those that ship; their inputs and results fit on a line.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from coordinator.saga.definition import Retry, SagaDefinition, Step, external, hours, minutes, parallel, seconds
from coordinator.saga.model import Kind
from sagas import definitions as shipped

DEAR_CENTS = 100_000


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class TransferInput(_Model):
    """A transfer between two accounts."""

    transfer_id: str
    source: str
    destination: str
    amount_cents: int


class Debited(_Model):
    """What accounts answers to a debit."""

    hold_id: str


transfer = SagaDefinition(
    "Transfer",
    version=1,
    input=TransferInput,
    business_key="transfer_id",
    steps=(
        Step(
            "debit_source",
            participant="accounts",
            action="DebitAccount",
            compensation="ReturnDebit",
            result=Debited,
            payload={"account": "input.source", "amount_cents": "input.amount_cents"},
        ),
        Step("record_transfer", participant="ledger", action="RecordTransfer", compensation="VoidTransfer"),
        Step(
            "credit_destination",
            participant="accounts",
            action="CreditAccount",
            kind=Kind.PIVOT,
            retry=Retry(attempts=2),
            payload={"account": "input.destination", "hold_id": "debit_source.hold_id"},
        ),
        Step(
            "send_notice",
            participant="notification",
            action="SendTransferNotice",
            kind=Kind.RETRIABLE,
            retry=Retry(attempts=2),
        ),
    ),
    recovery=Retry(attempts=2, base=seconds(10)),
)


class TravelInput(_Model):
    """A trip."""

    booking_id: str
    city: str
    card: str


class Booked(_Model):
    """What each of the three answers."""

    price_cents: int


class Approved(_Model):
    """What whoever may approve a dear trip answers."""

    approved_by: str


def total_cents(results: Any) -> int:
    """What the three cost together."""
    return sum(results[name].price_cents for name in ("book_hotel", "book_flight", "rent_car"))


def is_dear(_input: TravelInput, results: Any) -> bool:
    """Whether somebody has to approve."""
    return total_cents(results) > DEAR_CENTS


def bill(traveller: TravelInput, results: Any) -> dict[str, Any]:
    """What payment is asked for: the sum of all, known only now."""
    return {"card": traveller.card, "amount_cents": total_cents(results)}


trip = SagaDefinition(
    "Trip",
    version=1,
    input=TravelInput,
    business_key="booking_id",
    steps=(
        *parallel(
            "bookings",
            Step("book_hotel", participant="hotel", action="BookRoom", compensation="CancelRoom", result=Booked),
            Step("book_flight", participant="flight", action="BookSeat", compensation="CancelSeat", result=Booked),
            Step("rent_car", participant="car", action="RentCar", compensation="CancelRental", result=Booked),
        ),
        external("approval", timeout=hours(4), when=is_dear, result=Approved),
        Step(
            "take_payment",
            participant="payment",
            action="ProcessPayment",
            kind=Kind.PIVOT,
            timeout=minutes(2),
            payload=bill,
        ),
        Step("send_itinerary", participant="notification", action="SendItinerary", kind=Kind.RETRIABLE),
    ),
)


class PartyInput(_Model):
    """A party, and what it needs."""

    party_id: str
    guests: tuple[str, ...] = ()
    hall: bool = False
    approval: bool = False
    food: bool = False
    mail: bool = False
    thanks: bool = False


def portions(party: PartyInput, _results: Any) -> dict[str, Any]:
    """What the caterer is asked for; a party without guests is a mistake of this function."""
    return {"portions": len(party.guests), "for": party.guests[0]}


party_planning = SagaDefinition(
    "PartyPlanning",
    version=1,
    input=PartyInput,
    business_key="party_id",
    steps=(
        *parallel(
            "preparations",
            Step(
                "book_hall",
                participant="hall",
                action="BookHall",
                compensation="FreeHall",
                retry=Retry(attempts=2),
                when=lambda party, _results: party.hall,
            ),
            external("approval", timeout=hours(1), when=lambda party, _results: party.approval, result=Approved),
        ),
        Step(
            "order_food",
            participant="caterer",
            action="OrderFood",
            kind=Kind.PIVOT,
            retry=Retry(attempts=1),
            when=lambda party, _results: party.food,
            payload=portions,
        ),
        *parallel(
            "afterwards",
            Step(
                "send_mail",
                participant="mail",
                action="SendMail",
                kind=Kind.RETRIABLE,
                retry=Retry(attempts=1),
                when=lambda party, _results: party.mail,
            ),
            external("thanks", timeout=hours(24), kind=Kind.RETRIABLE, when=lambda party, _results: party.thanks),
        ),
    ),
    recovery=Retry(attempts=1, base=seconds(10)),
)

definitions: tuple[SagaDefinition, ...] = (*shipped, transfer, trip, party_planning)
