"""The saga definitions that ship with the project; settings name this module's `definitions` and `choreographies`."""

from __future__ import annotations

from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import SagaDefinition
from sagas.bank_transfer import bank_transfer
from sagas.order_choreography import order_choreography
from sagas.order_fulfillment import order_fulfillment
from sagas.travel_booking import travel_booking

definitions: tuple[SagaDefinition, ...] = (order_fulfillment, bank_transfer, travel_booking)
choreographies: tuple[ChoreographyDefinition, ...] = (order_choreography,)
