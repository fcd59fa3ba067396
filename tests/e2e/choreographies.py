"""The order choreography with the patience that tests need: the coordinators of these tests load this module."""

from __future__ import annotations

from dataclasses import replace

from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import seconds
from sagas.order_choreography import order_choreography

HASTY_S = 2.0

# Only the wait for payment is short: the test switches payment off.
hasty = ChoreographyDefinition(
    "HastyChoreography",
    1,
    tuple(
        replace(event, within=seconds(HASTY_S)) if event.type == "InventoryReserved" else event
        for event in order_choreography.events
    ),
)
choreographies = (hasty,)
