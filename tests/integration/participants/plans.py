"""The steps of transfers and trips, as the sagas that ship will send them."""

from __future__ import annotations

import secrets
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

from coordinator.wire.messages import StepCompleted, StepFailed
from tests.integration.participants.exchange import Step
from tests.integration.participants.office import Office

TRANSFER: dict[str, Any] = {
    "transfer_id": "transfer-1",
    "source_account": "acc-ann",
    "destination_account": "acc-bob",
    "amount_minor": 1_250,
    "currency": "EUR",
    "source_email": "ann@example.com",
    "destination_email": "bob@example.com",
}
TRIP: dict[str, Any] = {
    "booking_id": "trip-1",
    "traveller_email": "ann@example.com",
    "hotel": "hotel-central",
    "room": "double",
    "check_in": "2031-05-02",
    "nights": 3,
    "flight": "SG100",
    "seats": 2,
    "station": "lisbon-airport",
    "car_class": "compact",
    "pick_up": "2031-05-02",
    "days": 4,
    "currency": "EUR",
}
NAMES = {
    "DebitAccount": ("accounts", "ReturnDebit"),
    "RecordTransfer": ("ledger", "VoidTransfer"),
    "CreditAccount": ("accounts", ""),
    "SendTransferNotice": ("notification", ""),
    "BookRoom": ("hotel", "CancelRoom"),
    "BookSeat": ("flight", "CancelSeat"),
    "RentCar": ("car", "CancelRental"),
    "SendItinerary": ("notification", ""),
}


def plan(action: str, saga_id: str | None = None, **payload: Any) -> Step:
    """Build the step that has an action, of a new saga unless one is named; keywords replace fields."""
    participant, compensation = NAMES[action]
    usual = TRANSFER if participant in {"accounts", "ledger"} or action == "SendTransferNotice" else TRIP
    who = saga_id or str(uuid4())
    return Step(
        participant=participant,
        action=action,
        compensation=compensation,
        payload={**usual, **payload},
        saga_id=who,
        name=action.lower(),
    )


async def done(office: Office, step: Step) -> dict[str, Any]:
    """Have a step's action carried out, and give its result."""
    await office.exchange.act(step)
    message = (await office.exchange.reply(step.action_id)).message
    assert isinstance(message, StepCompleted), message
    return dict(message.result)


async def refusal(office: Office, step: Step) -> tuple[str, bool]:
    """Have a step's action refused, and give the code and whether it may pass."""
    await office.exchange.act(step)
    message = (await office.exchange.reply(step.action_id)).message
    assert isinstance(message, StepFailed), message
    return message.error.code, message.error.retryable


async def account(office: Office, balance: int, currency: str = "EUR", status: str = "open") -> str:
    """Open an account of one test's own."""
    name = f"acc-{secrets.token_hex(6)}"
    await office.rows(
        "insert into accounts.accounts values ($1, 'somebody', $2, $3, $4)",
        *(name, currency, status, balance),
    )
    return name


async def balance(office: Office, name: str) -> int:
    """Ask for an account's balance."""
    return int((await office.rows("select balance_minor from accounts.accounts where account_id = $1", name))[0][0])


def any_day() -> date:
    """Choose a day that no other test has chosen, to all intents and purposes."""
    return date(2100, 1, 1) + timedelta(days=secrets.randbelow(2_000_000))
