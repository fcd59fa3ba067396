"""The other sample sagas as tests need them: as they ship, and with less patience.

TravelBooking, BankTransfer   as they ship
ShortApproval                 TravelBooking whose approval times out at once
ShortTrip                     TravelBooking that as a whole must be done at once, with a patient approval
RelentlessTransfer            BankTransfer that retries its notice, and gives up on it, within a second or two
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coordinator.saga.definition import Retry, SagaDefinition, hours, seconds
from sagas.bank_transfer import bank_transfer
from sagas.travel_booking import travel_booking

QUICK = Retry(attempts=2, base=seconds(0.02), cap=seconds(0.1))
PARTICIPANTS = ("accounts", "ledger", "hotel", "flight", "car", "payment", "notification")


def _with(definition: SagaDefinition, name: str, step: str, **changes: Any) -> SagaDefinition:
    steps = tuple(replace(one, **changes) if one.name == step else one for one in definition.steps)
    return replace(definition, name=name, steps=steps)


definitions = (
    travel_booking,
    bank_transfer,
    _with(travel_booking, "ShortApproval", "approve_trip", timeout=seconds(0.5)),
    replace(_with(travel_booking, "ShortTrip", "approve_trip", timeout=hours(1)), deadline=seconds(2)),
    replace(
        _with(bank_transfer, "RelentlessTransfer", "send_notice", timeout=seconds(0.5), retry=QUICK),
        recovery=Retry(attempts=2, base=seconds(0.2), cap=seconds(0.2)),
    ),
)
