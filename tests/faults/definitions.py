"""The orders of these tests: patient ones, hasty ones, and brief ones whose every command is soon sent again.

Brief    each action and each compensation has four seconds: what Kafka lost is noticed by that and by nothing else
Curt     so has everything here, but the payment has half a second: for those that never answer
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.saga.definition import Retry, SagaDefinition, seconds
from sagas.order_fulfillment import order_fulfillment
from tests.e2e.definitions import HASTY_S, NO_RECOVERY, RETRY
from tests.e2e.definitions import definitions as others

BRIEF = "Brief"
BRIEF_S = 4.0
CURT = "Curt"

# It has to outlive a server that is away for as long as these tests take one away.
_UNDO_RETRY = Retry(attempts=20, base=seconds(0.1), cap=seconds(2))


def _brief(name: str, timeouts: dict[str, float], attempts: int) -> SagaDefinition:
    steps = tuple(
        replace(
            step,
            timeout=seconds(timeouts.get(step.name, BRIEF_S)),
            compensation_timeout=seconds(BRIEF_S),
            retry=replace(RETRY, attempts=attempts),
            compensation_retry=_UNDO_RETRY,
        )
        for step in order_fulfillment.steps
    )
    order = order_fulfillment
    return SagaDefinition(name, 1, order.input, order.business_key, steps, recovery=NO_RECOVERY)


definitions = (*others, _brief(BRIEF, {}, 3), _brief(CURT, {"process_payment": HASTY_S}, 2))
