"""The saga definitions that ship with the project; settings name this module's `definitions`."""

from __future__ import annotations

from coordinator.saga.definition import SagaDefinition
from sagas.order_fulfillment import order_fulfillment

definitions: tuple[SagaDefinition, ...] = (order_fulfillment,)
