"""The order saga as crash points need it.

Patient      nothing times out; what fails is undone
Hurried      the payment and its undoing have a moment for each of many attempts
HurriedOnce  the payment has a moment and one attempt; its undoing has a moment for each of many
Onward       the payment is the pivot; behind it what does not work twice needs a person
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from coordinator.saga.definition import Kind, Retry, SagaDefinition, seconds
from tests.e2e.definitions import NO_RECOVERY, PATIENT, RETRY, variant

HURRIED, HURRIED_ONCE, ONWARD = "Hurried", "HurriedOnce", "Onward"
MOMENT_S: Final = 0.8
MANY: Final = Retry(attempts=10, base=seconds(0.02), cap=seconds(0.1))
ONCE: Final = Retry(attempts=1)


def _changed(name: str, changes: dict[str, dict[str, Any]]) -> SagaDefinition:
    """Make the patient saga under another name, with changes of some steps."""
    patient = variant(PATIENT)
    steps = tuple(replace(step, **changes.get(step.name, {})) for step in patient.steps)
    return SagaDefinition(name, 1, patient.input, patient.business_key, steps, recovery=NO_RECOVERY)


def _hurried(name: str, retry: Retry) -> SagaDefinition:
    moment = seconds(MOMENT_S)
    changes = {"timeout": moment, "compensation_timeout": moment, "retry": retry, "compensation_retry": MANY}
    return _changed(name, {"process_payment": changes})


_behind: dict[str, Any] = {"kind": Kind.RETRIABLE, "compensation": None, "retry": RETRY}
_onward: dict[str, dict[str, Any]] = {
    "process_payment": {"kind": Kind.PIVOT, "compensation": None},
    "create_shipment": _behind,
    "send_confirmation": _behind,
}

definitions = (
    variant(PATIENT),
    _hurried(HURRIED, MANY),
    _hurried(HURRIED_ONCE, ONCE),
    _changed(ONWARD, _onward),
)
