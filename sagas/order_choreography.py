"""OrderChoreography: the order again, with nobody in charge; the sample participants react to each other's events.

    OrderCreated -> InventoryReserved -> PaymentProcessed -> ShipmentCreated -> OrderFulfilled
         |                 |                   |
         |                 |             ShipmentFailed -> PaymentRefunded
         |           PaymentFailed --------------------------+-> InventoryReleased
    InventoryRejected --------------------------------------------+-> OrderFailed

The shop publishes OrderCreated on its topic of events, with the whole order as data; each event says all that came
before it and adds what its sender did.
"""

from __future__ import annotations

from coordinator.saga.choreography import ChoreographyDefinition, ExpectedEvent
from coordinator.saga.definition import minutes
from coordinator.saga.model import SagaStatus

order_choreography = ChoreographyDefinition(
    "OrderChoreography",
    version=1,
    correlation="order_id",
    events=(
        ExpectedEvent(
            "OrderCreated", source="shop", then=("InventoryReserved", "InventoryRejected"), within=minutes(2)
        ),
        ExpectedEvent(
            "InventoryReserved", source="inventory", then=("PaymentProcessed", "PaymentFailed"), within=minutes(1)
        ),
        ExpectedEvent(
            "PaymentProcessed", source="payment", then=("ShipmentCreated", "ShipmentFailed"), within=minutes(15)
        ),
        ExpectedEvent("ShipmentCreated", source="shipping", then=("OrderFulfilled",), within=minutes(2)),
        ExpectedEvent("OrderFulfilled", source="notification", ends=SagaStatus.COMPLETED),
        ExpectedEvent("ShipmentFailed", source="shipping", then=("PaymentRefunded",), within=minutes(2)),
        ExpectedEvent("PaymentRefunded", source="payment", then=("InventoryReleased",), within=minutes(2)),
        ExpectedEvent("PaymentFailed", source="payment", then=("InventoryReleased",), within=minutes(2)),
        ExpectedEvent("InventoryReleased", source="inventory", then=("OrderFailed",), within=minutes(2)),
        ExpectedEvent("InventoryRejected", source="inventory", then=("OrderFailed",), within=minutes(2)),
        ExpectedEvent("OrderFailed", source="notification", ends=SagaStatus.FAILED),
    ),
)
