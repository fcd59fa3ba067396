"""The order saga with the timeouts that tests need; the coordinators of these tests load this module.

Patient        nothing times out in a test's lifetime; pauses are short
Steady         every step times out after a few seconds, which is less than an outage lasts
Brisk          the payment has two seconds, the others are patient
HastyX         step X times out at once when it is not answered, the others are patient
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.saga.definition import Retry, SagaDefinition, minutes, seconds
from sagas.order_fulfillment import order_fulfillment

STEPS = tuple(step.name for step in order_fulfillment.steps)
ATTEMPTS = 2
UNDO_ATTEMPTS = 4
HASTY_S = 0.5
STEADY_S = 4.0
BRISK_S = 2.0

RETRY = Retry(attempts=ATTEMPTS, base=seconds(0.02), cap=seconds(0.1))
UNDO_RETRY = Retry(attempts=UNDO_ATTEMPTS, base=seconds(0.02), cap=seconds(0.1))

NO_RECOVERY = Retry(attempts=0)


def variant(name: str, timeouts: dict[str, float] | None = None) -> SagaDefinition:
    """Make the order saga under another name; `timeouts` are seconds by step, all others have minutes."""
    steps = tuple(
        replace(
            step,
            timeout=seconds((timeouts or {}).get(step.name, 300)),
            compensation_timeout=minutes(5),
            retry=RETRY,
            compensation_retry=UNDO_RETRY,
        )
        for step in order_fulfillment.steps
    )
    order = order_fulfillment
    return SagaDefinition(name, 1, order.input, order.business_key, steps, recovery=NO_RECOVERY)


def hasty(step: str) -> str:
    """Name the definition in which one step is in a hurry."""
    return "Hasty" + "".join(word.capitalize() for word in step.split("_"))


PATIENT = "Patient"
STEADY = "Steady"
BRISK = "Brisk"

definitions = (
    variant(PATIENT),
    variant(STEADY, dict.fromkeys(STEPS, STEADY_S)),
    variant(BRISK, {"process_payment": BRISK_S}),
    *(variant(hasty(step), {step: HASTY_S}) for step in STEPS),
)

shipped = (order_fulfillment,)  # without those above
