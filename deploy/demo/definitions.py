"""OrderFulfillment as the demo runs it: the shipped steps with the patience of somebody who is watching.

Timeouts of minutes become seconds and the budgets of attempts small; everything else is what ships.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from coordinator.saga.definition import Retry, SagaDefinition, seconds
from sagas.order_fulfillment import order_fulfillment as shipped

TIMEOUT: Final = seconds(2)
RETRY: Final = Retry(attempts=3, base=seconds(0.2), cap=seconds(0.4))
COMPENSATION_RETRY: Final = Retry(attempts=4, base=seconds(0.4), cap=seconds(0.8))

order_fulfillment: Final = replace(
    shipped,
    steps=tuple(
        replace(step, timeout=TIMEOUT, retry=RETRY, compensation_retry=COMPENSATION_RETRY) for step in shipped.steps
    ),
    recovery=Retry(attempts=1, base=seconds(0.4), cap=seconds(0.8)),
)

definitions: tuple[SagaDefinition, ...] = (order_fulfillment,)

PARTICIPANTS: Final = tuple(
    dict.fromkeys(participant for definition in definitions for participant in definition.participants)
)
"""All that the definitions need, each once: the demo starts a process for each."""
