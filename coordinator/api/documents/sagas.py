"""The routes that start sagas, show them, and answer their external steps."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from coordinator.api.documents.common import (
    BODY_PROBLEMS,
    IDEMPOTENCY_KEY,
    MOMENT,
    PARAMETER_PROBLEMS,
    SAGA_ID,
    STEP,
    Body,
)
from coordinator.api.openapi import Answer, Document, in_query
from coordinator.api.problems import Problem
from coordinator.saga.model import SagaStatus
from coordinator.services.views import SagaDetail
from coordinator.store.reads import LogEntry, SagaSummary

OUTCOMES = ("created", "existing", "conflict", "invalid", "failed")


class StartBody(Body):
    """Which saga to start, with what; the input must fit the definition's model."""

    definition: Annotated[str, Field(min_length=1, max_length=63, examples=["OrderFulfillment"])]
    version: Annotated[int | None, Field(ge=1, le=32_767, description="The newest, when left out.")] = None
    input: Annotated[dict[str, Any], Field(description="At most 64 KiB; it holds the business key.")]
    start_at: Annotated[
        str | None, Field(max_length=40, description="RFC 3339; the saga is scheduled for this moment.")
    ] = None


class CompleteStepBody(Body):
    """What came of an external step; the result must fit the step's model."""

    result: Annotated[dict[str, Any], Field(default_factory=dict, description="At most 128 KiB.")]


class FailStepBody(Body):
    """Why an external step is refused."""

    code: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[ -~]+$", examples=["too_dear"])]
    message: Annotated[str, Field(max_length=2000)] = ""


class BulkBody(Body):
    """Sagas to start with one statement."""

    sagas: Annotated[list[Any], Field(description="Each is what POST /v1/sagas takes, and is checked on its own.")]


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


class SagaPage(msgspec.Struct, frozen=True):
    """A page of sagas, newest first; `next_cursor` is null on the last one."""

    sagas: list[SagaSummary]
    next_cursor: str | None


class LogPage(msgspec.Struct, frozen=True):
    """A page of a saga's log; `next_after` is null on the last one."""

    entries: list[LogEntry]
    next_after: int | None


_ORDER = {
    "definition": "OrderFulfillment",
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

START = Document(
    "startSaga",
    "sagas",
    "Start a saga",
    {
        201: Answer("The saga has begun", SagaSummary),
        200: Answer("The same request began this saga before", SagaSummary),
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
GET = Document(
    "getSaga",
    "sagas",
    "One saga with its steps",
    {200: Answer("The saga", SagaDetail)},
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[SAGA_ID, in_query("include", "Also the beginning of its log.", {"type": "string", "enum": ["log"]})],
)
LOG = Document(
    "getSagaLog",
    "sagas",
    "A saga's log",
    {200: Answer("Transitions, oldest first", LogPage)},
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[
        SAGA_ID,
        in_query("after", "Entries behind this version.", {"type": "integer", "minimum": 0, "default": 0}),
        in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}),
    ],
)
LIST = Document(
    "listSagas",
    "sagas",
    "Sagas, newest first",
    {200: Answer("A page", SagaPage)},
    {400: "The cursor is not of this list", **PARAMETER_PROBLEMS},
    parameters=[
        in_query(
            "status",
            "May be repeated.",
            {"type": "array", "items": {"type": "string", "enum": [status.value for status in SagaStatus]}},
        ),
        in_query("definition", "A definition's name.", {"type": "string"}),
        in_query("business_key", "Taken literally.", {"type": "string", "minLength": 1, "maxLength": 200}),
        in_query("since", "Begun at this moment or later.", MOMENT),
        in_query("until", "Begun before this moment.", MOMENT),
        in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
        in_query("cursor", "`next_cursor` of the page before.", {"type": "string"}),
    ],
)
COMPLETE_STEP = Document(
    "completeStep",
    "steps",
    "Complete an external step",
    {202: Answer("The answer is taken; this is how the saga stands", SagaSummary)},
    _ANSWER_PROBLEMS,
    CompleteStepBody,
    {"result": {"approved_by": "anna"}},
    [SAGA_ID, STEP, IDEMPOTENCY_KEY],
)
FAIL_STEP = Document(
    "failStep",
    "steps",
    "Refuse an external step",
    {202: Answer("The answer is taken; this is how the saga stands", SagaSummary)},
    _ANSWER_PROBLEMS,
    FailStepBody,
    {"code": "too_dear", "message": "beyond what the company pays"},
    [SAGA_ID, STEP, IDEMPOTENCY_KEY],
)
