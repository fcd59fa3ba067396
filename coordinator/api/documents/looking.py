"""The routes that look at sagas."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from coordinator.api.documents.common import (
    CURSOR,
    DEFINITION_NAME,
    MOMENT,
    PARAMETER_PROBLEMS,
    SAGA_ID,
    links_to_saga,
    printable,
    words_of,
)
from coordinator.api.filters import LABEL_NAME
from coordinator.api.openapi import Answer, Document, in_query
from coordinator.saga.model import SagaStatus
from coordinator.services.commands import CommandView
from coordinator.services.timeline import Interval
from coordinator.services.views import SagaDetail
from coordinator.store.reads import LogEntry, SagaSummary

LISTED: Final = (*SagaSummary.__struct_fields__, "labels")
"""What `fields` can ask for of a saga in a list."""


class ListedSaga(msgspec.Struct, frozen=True):
    """A saga in a list: a summary, or what was asked for with `fields`."""

    id: str
    definition: str | msgspec.UnsetType = msgspec.UNSET
    definition_version: int | msgspec.UnsetType = msgspec.UNSET
    business_key: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET
    version: int | msgspec.UnsetType = msgspec.UNSET
    created_at: str | msgspec.UnsetType = msgspec.UNSET
    updated_at: str | msgspec.UnsetType = msgspec.UNSET
    deadline: str | msgspec.UnsetType | None = msgspec.UNSET
    labels: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class SagaPage(msgspec.Struct, frozen=True):
    """A page of sagas, newest first; `next_cursor` is null on the last one, and on no other, however short."""

    sagas: list[ListedSaga]
    next_cursor: str | None


class LogPage(msgspec.Struct, frozen=True):
    """A page of a saga's log; `next_after` is null on the last one."""

    entries: list[LogEntry]
    next_after: int | None


class Count(msgspec.Struct, frozen=True):
    """How many sagas of a definition have a status; pairs of which there are none are left out."""

    definition: str
    status: str
    count: int


class CountList(msgspec.Struct, frozen=True):
    """How many sagas there are; `total` is the sum of the counts."""

    counts: list[Count]
    total: int


class CommandList(msgspec.Struct, frozen=True):
    """The commands of a saga, oldest first; not `complete` where the log does not tell of all."""

    commands: list[CommandView]
    complete: bool


class Timeline(msgspec.Struct, frozen=True):
    """What was under way, by when it began; not `complete` where the log does not tell of all."""

    intervals: list[Interval]
    complete: bool


# With `fields`, an answer has these members only, and the id.
SomeOfSaga = msgspec.defstruct(
    "SomeOfSaga",
    [
        (field.name, field.type) if field.name == "id" else (field.name, field.type | msgspec.UnsetType, msgspec.UNSET)
        for field in msgspec.structs.fields(SagaDetail)
    ],
    namespace={"__doc__": SagaDetail.__doc__},
)

_ID = "01981c2e-8a4b-7c3d-9e10-3f5b8a6d2c41"
_STEP = {"step": "create_shipment", "participant": "shipping"}
_LISTED: dict[str, Any] = {
    "id": _ID,
    "definition": "OrderFulfillment",
    "definition_version": 1,
    "business_key": "order-1001",
    "status": "suspended",
    "version": 6,
    "created_at": "2026-03-02T03:04:05.678Z",
    "updated_at": "2026-03-02T03:09:11.002Z",
    "deadline": None,
}
_MISSING = {404: "There is no such saga"}
_STATUSES = {"type": "array", "items": {"type": "string", "enum": [status.value for status in SagaStatus]}}
_PARTICIPANT = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,62}$"}
_WORD = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"}
_COMMAND = {
    **_STEP,
    "type": "CreateShipment",
    "direction": "action",
    "command_id": f"{_ID}:1:create_shipment:action",
    "attempt": 1,
    "issued_at": "2026-03-02T03:04:05.803Z",
    "deadline": "2026-03-02T03:19:05.803Z",
    "answered_at": None,
    "outcome": "timed_out",
    "unsent": False,
}
_INTERVAL = {
    "lane": "forward",
    **_STEP,
    "kind": "action",
    "attempt": 1,
    "begin": "2026-03-02T03:04:05.803Z",
    "end": "2026-03-02T03:19:05.803Z",
    "outcome": "timed_out",
}

FILTER_PARAMETERS: Final = [
    in_query("definition", "A definition's name.", DEFINITION_NAME),
    in_query("version", "Of the definition; needs one.", {"type": "integer", "minimum": 1, "maximum": 32_767}),
    in_query("status", "May be repeated.", _STATUSES),
    in_query("step", "Sagas that wait, or suspended hang, at this step; needs statuses that are not terminal.", _WORD),
    in_query("participant", "Sagas that wait, or suspended hang, at its steps; as step.", _PARTICIPANT),
    in_query("business_key", "Taken literally.", printable(200)),
    in_query(
        "label",
        "As name:value; may be repeated, and then all must fit.",
        {"type": "array", "maxItems": 3, "items": {"type": "string", "pattern": f"^{LABEL_NAME}:[ -~]{{1,200}}$"}},
    ),
    in_query("incident", "Sagas with an open incident for this reason.", _WORD),
    in_query("since", "Begun at this moment or later.", MOMENT),
    in_query("until", "Begun before this moment.", MOMENT),
]
"""The filters of a list of sagas, for every route that has them."""

LIST = Document(
    "listSagas",
    "sagas",
    "Sagas, newest first. A page looks at a few thousand sagas at most, so with filters that fit few it can be short,"
    " even empty, and still have a next_cursor",
    {
        200: Answer(
            "A page",
            SagaPage,
            example={"sagas": [_LISTED], "next_cursor": "AgGYHC6KS3w9nhA_W4ptLEE"},
            links=links_to_saga("/sagas/0/id"),
        )
    },
    {400: "The cursor is not of this list", **PARAMETER_PROBLEMS},
    parameters=[
        *FILTER_PARAMETERS,
        in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
        CURSOR,
        in_query("fields", f"Only these members and the id, by commas; of {', '.join(LISTED)}.", words_of(LISTED)),
    ],
)
COUNTS = Document(
    "countSagas",
    "sagas",
    "How many sagas there are by definition and status: exact, and as fast with millions of them",
    {
        200: Answer(
            "The counts",
            CountList,
            example={
                "counts": [{"definition": "OrderFulfillment", "status": "completed", "count": 941_220}],
                "total": 941_220,
            },
        )
    },
    PARAMETER_PROBLEMS,
    parameters=[in_query("definition", "Only of this name.", DEFINITION_NAME)],
)
GET = Document(
    "getSaga",
    "sagas",
    "One saga with its steps",
    {200: Answer("The saga; the ETag is for If-Match", SomeOfSaga, headers=["ETag"])},
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[
        SAGA_ID,
        in_query("include", "Also the beginning of its log.", {"type": "string", "enum": ["log"]}),
        in_query("fields", "Only these members and the id, by commas.", words_of(SagaDetail.__struct_fields__)),
    ],
)
LOG = Document(
    "getSagaLog",
    "sagas",
    "A saga's log",
    {200: Answer("Transitions, oldest first", LogPage)},
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[
        SAGA_ID,
        in_query(
            "after",
            "Entries behind this version.",
            {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
        ),
        in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}),
    ],
)
COMMANDS = Document(
    "getSagaCommands",
    "sagas",
    "The commands that a saga has issued, and what came of each",
    {200: Answer("The commands, oldest first", CommandList, example={"commands": [_COMMAND], "complete": True})},
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[SAGA_ID],
)
TIMELINE = Document(
    "getSagaTimeline",
    "sagas",
    "What was under way in a saga from when to when, for drawing",
    {200: Answer("The intervals", Timeline, example={"intervals": [_INTERVAL], "complete": True})},
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[SAGA_ID],
)
