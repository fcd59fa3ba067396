"""The saga definitions that ship with the project; settings name this module's `definitions` and `choreographies`."""

from __future__ import annotations

from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import SagaDefinition
from sagas.order_choreography import order_choreography
from sagas.order_fulfillment import order_fulfillment

definitions: tuple[SagaDefinition, ...] = (order_fulfillment,)
choreographies: tuple[ChoreographyDefinition, ...] = (order_choreography,)
