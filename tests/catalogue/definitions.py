"""What the coordinator of this suite loads: the order saga as it ships, and sagas that stay where they are for an hour.

Patient           the order saga in which nothing times out
Asked             begins with a question to somebody outside
Queued            asks a participant for whom flow control lets through one at a time
PatientOrders     the order choreography in which nothing is late
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import SagaDefinition, Step, external, hours
from sagas.order_choreography import order_choreography
from sagas.order_fulfillment import order_fulfillment
from tests.e2e.definitions import PATIENT, variant

ASKED = "Asked"
QUEUED = "Queued"
NARROW = "hotel"  # asked for one thing at a time
OBSERVED = "PatientOrders"


def _patient(definition: SagaDefinition) -> SagaDefinition:
    steps = tuple(replace(step, timeout=hours(1), compensation_timeout=hours(1)) for step in definition.steps)
    return replace(definition, steps=steps)


_order = order_fulfillment
_patient_order = _patient(variant(PATIENT))
_queued = Step("book_room", participant=NARROW, action="BookRoom", timeout=hours(1))

definitions = (
    order_fulfillment,
    _patient_order,
    SagaDefinition(
        ASKED, 1, _order.input, _order.business_key, (external("approve", timeout=hours(1)), *_patient_order.steps)
    ),
    SagaDefinition(QUEUED, 1, _order.input, _order.business_key, (_queued,)),
)
choreographies = (
    ChoreographyDefinition(
        OBSERVED,
        1,
        tuple(event if event.ends else replace(event, within=hours(1)) for event in order_choreography.events),
    ),
)
