"""The routes that start sagas, show them, and answer their external steps."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field

from coordinator.api.documents.common import (
    BODY_PROBLEMS,
    IDEMPOTENCY_KEY,
    PRINTABLE,
    SAGA_ID,
    STEP,
    Body,
    links_to_saga,
)
from coordinator.api.filters import LABEL_NAME, LABEL_VALUE_MAX
from coordinator.api.openapi import Answer, Document, Link
from coordinator.api.problems import Problem
from coordinator.store.reads import SagaSummary

LABELS_MAX = 8  # of a saga
OUTCOMES = ("created", "existing", "conflict", "invalid", "failed")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a label's value is printable text")
    return text


LabelValue = Annotated[
    str,
    Field(min_length=1, max_length=LABEL_VALUE_MAX, json_schema_extra={"pattern": PRINTABLE}),
    AfterValidator(_printable),
]


class StartBody(Body):
    """Which saga to start, with what; the input must fit the definition's model."""

    definition: Annotated[str, Field(min_length=1, max_length=63, examples=["OrderFulfillment"])]
    version: Annotated[int | None, Field(ge=1, le=32_767, description="The newest, when left out.")] = None
    input: Annotated[dict[str, Any], Field(description="At most 64 KiB; it holds the business key.")]
    start_at: Annotated[
        str | None,
        Field(
            max_length=40,
            description="RFC 3339; the saga is scheduled for this moment, within a year.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None
    labels: Annotated[
        dict[Annotated[str, Field(pattern=f"^{LABEL_NAME}$")], LabelValue],
        Field(
            default_factory=dict,
            max_length=LABELS_MAX,
            examples=[{"tenant": "acme"}],
            description="To find the saga by. No part of what makes two requests the same: the first one's stay.",
        ),
    ]


class CompleteStepBody(Body):
    """What came of an external step; the result must fit the step's model."""

    result: Annotated[dict[str, Any], Field(default_factory=dict, description="At most 128 KiB.")]


class FailStepBody(Body):
    """Why an external step is refused."""

    code: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[ -~]+$", examples=["too_dear"])]
    message: Annotated[str, Field(max_length=2000)] = ""


class BulkBody(Body):
    """Sagas to start with one statement."""

    sagas: Annotated[
        list[Any],
        Field(
            description="Each is what POST /v1/sagas takes, and is checked on its own.",
            json_schema_extra={"minItems": 1},
        ),
    ]


class BulkItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one saga of a call: `saga` when it was created or existing, else `problem`."""

    index: int
    outcome: str
    saga: SagaSummary | None = None
    problem: Problem | None = None


class BulkAnswer(msgspec.Struct, frozen=True):
    """What came of a call, in its order; nothing of an invalid item is written."""

    counts: dict[str, int]
    items: list[BulkItem]


_ORDER = {
    "definition": "OrderFulfillment",
    "labels": {"tenant": "acme", "region": "eu"},
    "input": {
        "order_id": "order-1001",
        "customer_id": "customer-7",
        "email": "ada@example.org",
        "items": [{"sku": "sku-book", "quantity": 1}],
        "amount_cents": 4200,
        "currency": "EUR",
        "card": {"token": "tok_visa"},
        "address": {"country": "DE", "city": "Berlin", "street": "Unter den Linden 1"},
    },
}
_MISSING = {404: "There is no such saga"}
_ANSWER_PROBLEMS = {
    **BODY_PROBLEMS,
    **_MISSING,
    409: "The step does not wait for an answer from outside; nothing has changed",
}

_TAKEN = "The answer is taken; this is how the saga stands"
_PLACE = {"saga_id": "$response.body#/id"}
_ACT = {"reason": "to see what happens", "expected_version": "$response.body#/version"}
_TO_IT = {
    **links_to_saga("/id"),
    **{f"{verb}Saga": Link(_PLACE, _ACT) for verb in ("suspend", "compensate", "abandon")},
}

START = Document(
    "startSaga",
    "sagas",
    "Start a saga",
    {
        201: Answer("The saga has begun", SagaSummary, links=_TO_IT, headers=["Location", "ETag"]),
        200: Answer("The same request began this saga before", SagaSummary, links=_TO_IT, headers=["Location", "ETag"]),
    },
    {
        **BODY_PROBLEMS,
        409: "The business key belongs to a saga with another input; or not every replica knows the version yet",
    },
    StartBody,
    _ORDER,
    [IDEMPOTENCY_KEY],
)
START_MANY = Document(
    "startSagas",
    "sagas",
    "Start many sagas",
    {200: Answer("Each saga has an outcome: created, existing, conflict, invalid or failed", BulkAnswer)},
    BODY_PROBLEMS,
    BulkBody,
    {"sagas": [_ORDER]},
    [IDEMPOTENCY_KEY],
)
COMPLETE_STEP = Document(
    "completeStep",
    "steps",
    "Complete an external step",
    {202: Answer(_TAKEN, SagaSummary, links=links_to_saga("/id"), headers=["ETag"])},
    _ANSWER_PROBLEMS,
    CompleteStepBody,
    {"result": {"approved_by": "anna"}},
    [SAGA_ID, STEP, IDEMPOTENCY_KEY],
)
FAIL_STEP = Document(
    "failStep",
    "steps",
    "Refuse an external step",
    {202: Answer(_TAKEN, SagaSummary, links=links_to_saga("/id"), headers=["ETag"])},
    _ANSWER_PROBLEMS,
    FailStepBody,
    {"code": "too_dear", "message": "beyond what the company pays"},
    [SAGA_ID, STEP, IDEMPOTENCY_KEY],
)
