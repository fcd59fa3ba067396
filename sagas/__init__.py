"""The saga definitions that ship with the project; settings name this module's `definitions` and `choreographies`."""

from __future__ import annotations

from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import SagaDefinition
from sagas.bank_transfer import bank_transfer as _bank_transfer
from sagas.order_choreography import order_choreography as _order_choreography
from sagas.order_fulfillment import order_fulfillment as _order_fulfillment
from sagas.travel_booking import travel_booking as _travel_booking

# Under other names, so that `sagas.bank_transfer` stays the module.
definitions: tuple[SagaDefinition, ...] = (_order_fulfillment, _bank_transfer, _travel_booking)
choreographies: tuple[ChoreographyDefinition, ...] = (_order_choreography,)
