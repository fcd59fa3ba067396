"""The sample sagas as the demo runs them: the shipped steps with the patience of somebody who is watching.

Timeouts of minutes become seconds and the budgets of attempts small; everything else is what ships. There is a tuple of
definitions for each family of stories, named as the family is, and `definitions` for all of them together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import Retry, SagaDefinition, Step, seconds
from sagas.bank_transfer import bank_transfer as shipped_bank_transfer
from sagas.order_choreography import order_choreography as shipped_order_choreography
from sagas.order_fulfillment import order_fulfillment as shipped_order_fulfillment
from sagas.travel_booking import travel_booking as shipped_travel_booking

TIMEOUT: Final = seconds(2)
BOOKING_TIMEOUT: Final = seconds(5)  # longer than the demo's slow hotel takes
APPROVAL_TIMEOUT: Final = seconds(5)  # in the demo somebody answers within a second, or nobody does
SILENCE: Final = seconds(3)  # of a participant that should have said something
RETRY: Final = Retry(attempts=3, base=seconds(0.2), cap=seconds(0.4))
COMPENSATION_RETRY: Final = Retry(attempts=4, base=seconds(0.4), cap=seconds(0.8))
RECOVERY: Final = Retry(attempts=1, base=seconds(0.4), cap=seconds(0.8))


def _impatient(step: Step) -> Step:
    if step.external:
        return replace(step, timeout=APPROVAL_TIMEOUT)
    timeout = TIMEOUT if step.group is None else BOOKING_TIMEOUT
    return replace(step, timeout=timeout, retry=RETRY, compensation_retry=COMPENSATION_RETRY)


def _hurried(shipped: SagaDefinition) -> SagaDefinition:
    return replace(shipped, steps=tuple(map(_impatient, shipped.steps)), recovery=RECOVERY)


order_fulfillment: Final = _hurried(shipped_order_fulfillment)
bank_transfer: Final = _hurried(shipped_bank_transfer)
travel_booking: Final = _hurried(shipped_travel_booking)

order: tuple[SagaDefinition, ...] = (order_fulfillment,)
bank: tuple[SagaDefinition, ...] = (bank_transfer,)
travel: tuple[SagaDefinition, ...] = (travel_booking,)
choreography = order  # a coordinator that only watches must know some definition, too
definitions: tuple[SagaDefinition, ...] = (*order, *bank, *travel)

# Payment is given little time, since in the demo it misses an event; the others are waited for as shipped.
order_choreography: Final = replace(
    shipped_order_choreography,
    events=tuple(
        replace(event, within=SILENCE) if event.type == "InventoryReserved" else event
        for event in shipped_order_choreography.events
    ),
)
choreographies: tuple[ChoreographyDefinition, ...] = (order_choreography,)
