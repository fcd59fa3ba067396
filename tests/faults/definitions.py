"""The orders of these tests: patient ones, hasty ones, and brief ones whose every command is soon sent again.

Brief    each action and each compensation has four seconds: what Kafka lost is noticed by that and by nothing else
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.saga.definition import Retry, SagaDefinition, seconds
from sagas.order_fulfillment import order_fulfillment
from tests.e2e.definitions import NO_RECOVERY, RETRY
from tests.e2e.definitions import definitions as others

BRIEF = "Brief"
BRIEF_S = 4.0

# It has to outlive a server that is away for as long as these tests take one away.
_UNDO_RETRY = Retry(attempts=20, base=seconds(0.1), cap=seconds(2))


def _brief() -> SagaDefinition:
    steps = tuple(
        replace(
            step,
            timeout=seconds(BRIEF_S),
            compensation_timeout=seconds(BRIEF_S),
            retry=replace(RETRY, attempts=3),
            compensation_retry=_UNDO_RETRY,
        )
        for step in order_fulfillment.steps
    )
    order = order_fulfillment
    return SagaDefinition(BRIEF, 1, order.input, order.business_key, steps, recovery=NO_RECOVERY)


definitions = (*others, _brief())
