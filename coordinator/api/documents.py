"""What the OpenAPI document says: the shapes of bodies and answers, with examples.

Request bodies are pydantic models, because these check them; answers are the structs that are written.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from coordinator.api.health import Readiness
from coordinator.api.problems import MEDIA_TYPE, Problem
from coordinator.saga.model import SagaStatus
from coordinator.services.catalogue import DefinitionView
from coordinator.services.participants import ParticipantList
from coordinator.services.views import SagaDetail
from coordinator.store.reads import LogEntry, SagaSummary

OUTCOMES = ("created", "existing", "conflict", "invalid", "failed")

_REF = "#/components/schemas/{name}"


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class StartBody(_Body):
    """Which saga to start, with what; the input must fit the definition's model."""

    definition: Annotated[str, Field(min_length=1, max_length=63, examples=["OrderFulfillment"])]
    version: Annotated[int | None, Field(ge=1, le=32_767, description="The newest, when left out.")] = None
    input: Annotated[dict[str, Any], Field(description="At most 64 KiB; it holds the business key.")]
    start_at: Annotated[
        str | None, Field(max_length=40, description="RFC 3339; the saga is scheduled for this moment.")
    ] = None


class CompleteStepBody(_Body):
    """What came of an external step; the result must fit the step's model."""

    result: Annotated[dict[str, Any], Field(description="At most 128 KiB.")] = {}


class FailStepBody(_Body):
    """Why an external step is refused."""

    code: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[ -~]+$", examples=["too_dear"])]
    message: Annotated[str, Field(max_length=2000)] = ""


class BulkBody(_Body):
    """Sagas to start with one statement."""

    sagas: Annotated[list[Any], Field(description="Each is what POST /v1/sagas takes, and is checked on its own.")]


class RetryBody(_Body):
    """Why a suspended saga should go on, and which version of it was looked at."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]
    expected_version: Annotated[int | None, Field(ge=1, le=2**31 - 1, description="Or If-Match.")] = None


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


class DefinitionList(msgspec.Struct, frozen=True):
    """Every version of every definition, by name."""

    definitions: list[DefinitionView]


_ANSWERS = (
    SagaSummary,
    SagaDetail,
    BulkAnswer,
    SagaPage,
    LogPage,
    DefinitionList,
    ParticipantList,
    Problem,
    Readiness,
)
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


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an app, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, shapes = msgspec.json.schema_components(_ANSWERS, ref_template=_REF)
        components = made.setdefault("components", {}).setdefault("schemas", {})
        components.clear()  # nothing but what is really read and written
        components.update(shapes)
        for model in (StartBody, BulkBody, RetryBody, CompleteStepBody, FailStepBody):
            components[model.__name__] = model.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
        components["BulkBody"]["properties"]["sagas"]["items"] = {"$ref": _REF.format(name="StartBody")}
        app.openapi_schema = made
    return app.openapi_schema


def _content(name: str, media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REF.format(name=name)}}}


def _route(
    summary: str,
    answers: dict[int, tuple[str, str]],
    problems: dict[int, str],
    *,
    body: str | None = None,
    example: Any = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The keywords of a route: `answers` are (what it means, the shape's name) by status."""
    extra: dict[str, Any] = {"parameters": parameters or []}
    if body is not None:
        content = _content(body)
        if example is not None:
            content["application/json"]["example"] = example
        extra["requestBody"] = {"required": True, "content": content}
    extra["responses"] = {
        **{str(status): {"description": text, "content": _content(shape)} for status, (text, shape) in answers.items()},
        **{
            str(status): {"description": text, "content": _content("Problem", MEDIA_TYPE)}
            for status, text in {**problems, 503: "Kafka or Postgres is away: ask again"}.items()
        },
    }
    # The status is named so that the framework adds no answer of its own invention.
    return {"summary": summary, "openapi_extra": extra, "status_code": min(answers), "response_model": None}


def _in_query(name: str, text: str, shape: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": shape}


_SAGA_ID = {
    "name": "saga_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_STEP = {
    "name": "step",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"},
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Accepted; the business key in the input decides.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_BODY_PROBLEMS = {
    400: "Not JSON",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "Not what is wanted here; `errors` says where",
}
_MOMENT = {"type": "string", "format": "date-time"}

START = _route(
    "Start a saga",
    {
        201: ("The saga has begun", "SagaSummary"),
        200: ("The same request began this saga before", "SagaSummary"),
    },
    {
        **_BODY_PROBLEMS,
        409: "The business key belongs to a saga with another input; or not every replica knows the version yet",
    },
    body="StartBody",
    example=_ORDER,
    parameters=[_KEY],
)
START_MANY = _route(
    "Start many sagas",
    {200: ("Each saga has an outcome: created, existing, conflict, invalid or failed", "BulkAnswer")},
    _BODY_PROBLEMS,
    body="BulkBody",
    example={"sagas": [_ORDER]},
    parameters=[_KEY],
)
GET = _route(
    "One saga with its steps",
    {200: ("The saga", "SagaDetail")},
    {404: "There is no such saga", 422: "A parameter is wrong"},
    parameters=[_SAGA_ID, _in_query("include", "Also the beginning of its log.", {"type": "string", "enum": ["log"]})],
)
LOG = _route(
    "A saga's log",
    {200: ("Transitions, oldest first", "LogPage")},
    {404: "There is no such saga", 422: "A parameter is wrong"},
    parameters=[
        _SAGA_ID,
        _in_query("after", "Entries behind this version.", {"type": "integer", "minimum": 0, "default": 0}),
        _in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}),
    ],
)
LIST = _route(
    "Sagas, newest first",
    {200: ("A page", "SagaPage")},
    {400: "The cursor is not of this list", 422: "A parameter is wrong"},
    parameters=[
        _in_query(
            "status",
            "May be repeated.",
            {"type": "array", "items": {"type": "string", "enum": [status.value for status in SagaStatus]}},
        ),
        _in_query("definition", "A definition's name.", {"type": "string"}),
        _in_query("business_key", "Taken literally.", {"type": "string", "minLength": 1, "maxLength": 200}),
        _in_query("since", "Begun at this moment or later.", _MOMENT),
        _in_query("until", "Begun before this moment.", _MOMENT),
        _in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
        _in_query("cursor", "`next_cursor` of the page before.", {"type": "string"}),
    ],
)
DEFINITIONS = _route(
    "The versions of all definitions, and how many sagas run on each",
    {200: ("All that are loaded here or were ever registered", "DefinitionList")},
    {422: "A parameter is wrong"},
)
_ACT_PROBLEMS = {
    **_BODY_PROBLEMS,
    404: "There is no such saga",
    409: "The saga is not suspended, or not of the kind that this verb is for",
    412: "The saga is at another version",
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag that was looked at, instead of expected_version.",
    "schema": {"type": "string"},
}
RETRY = _route(
    "Let a suspended saga go on",
    {202: ("It goes on; this is how it stands", "SagaSummary")},
    _ACT_PROBLEMS,
    body="RetryBody",
    example={"reason": "the payment service is back", "expected_version": 12},
    parameters=[_SAGA_ID, _KEY, _IF_MATCH],
)
REPLAY = _route(
    "Publish the last good event of a suspended choreographed saga again",
    {202: ("It goes on; this is how it stands", "SagaSummary")},
    _ACT_PROBLEMS,
    body="RetryBody",
    example={"reason": "the payment service is back", "expected_version": 3},
    parameters=[_SAGA_ID, _KEY, _IF_MATCH],
)
_ANSWER_PROBLEMS = {
    **_BODY_PROBLEMS,
    404: "There is no such saga",
    409: "The step does not wait for an answer from outside; nothing has changed",
}
COMPLETE_STEP = _route(
    "Complete an external step",
    {202: ("The answer is taken; this is how the saga stands", "SagaSummary")},
    _ANSWER_PROBLEMS,
    body="CompleteStepBody",
    example={"result": {"approved_by": "anna"}},
    parameters=[_SAGA_ID, _STEP, _KEY],
)
FAIL_STEP = _route(
    "Refuse an external step",
    {202: ("The answer is taken; this is how the saga stands", "SagaSummary")},
    _ANSWER_PROBLEMS,
    body="FailStepBody",
    example={"code": "too_dear", "message": "beyond what the company pays"},
    parameters=[_SAGA_ID, _STEP, _KEY],
)
PARTICIPANTS = _route(
    "Participants, and how flow control stands towards them",
    {200: ("All of them; see ParticipantView for what is of this process only", "ParticipantList")},
    {422: "A parameter is wrong"},
)
