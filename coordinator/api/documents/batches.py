"""The routes of batch operations: a dry run, its confirmation, and the operation as a resource."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from coordinator.api.documents.common import (
    BODY_PROBLEMS,
    CURSOR,
    IDEMPOTENCY_KEY,
    PARAMETER_PROBLEMS,
    UUID,
    Body,
    Said,
    links_to_saga,
)
from coordinator.api.documents.verbs import StepName
from coordinator.api.openapi import Answer, Document, Link, in_path, in_query
from coordinator.services.batch_operations import BatchOperation, DryRun
from coordinator.store.batches import ItemRecord

OUTCOMES: Final = ("left", "done", "refused", "failed")
STATES: Final = ("running", "paused", "cancelled", "done")


class BatchBody(Body):
    """Which verb for which sagas; `step`, `resolution` and `result` as the verb itself takes them."""

    verb: Literal["retry", "skip", "resolve", "compensate", "suspend", "resume", "abandon"]
    filter: Annotated[
        dict[str, Any],
        Field(description="As the list's parameters, each a text or a list; `status` must be one that fits the verb."),
    ]
    dry_run: Annotated[bool, Field(description="Say what would be done, and begin nothing.")] = True
    confirmation: Annotated[
        str | None, Field(max_length=200, description="Of a dry run of the same; needed to begin.")
    ] = None
    reason: Annotated[Said | None, Field(description="Needed to begin.")] = None
    rate: Annotated[int | None, Field(ge=1, le=10_000, description="Sagas per second.")] = None
    step: StepName | None = None
    resolution: Literal["completed", "failed", "undone"] | None = None
    result: dict[str, Any] | None = None


class ChangeBody(Body):
    """Why a batch operation is paused, resumed or cancelled."""

    reason: Said


class BatchPage(msgspec.Struct, frozen=True):
    """A page of batch operations, newest first; `next_cursor` is null on the last one."""

    batch_operations: list[BatchOperation]
    next_cursor: str | None


class ItemPage(msgspec.Struct, frozen=True):
    """A page of a batch operation's sagas, oldest first; `next_cursor` is null on the last one."""

    items: list[ItemRecord]
    next_cursor: str | None


_ID = in_path("operation_id", UUID)
_LIMIT = in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50})
_PLACE = Link({"operation_id": "$response.body#/id"})
_TO_ONE = {"getBatchOperation": _PLACE, "listBatchItems": _PLACE}
_TO_CHANGE = {
    f"{what}BatchOperation": Link(_PLACE.parameters, {"reason": f"to {what} it"})
    for what in ("pause", "resume", "cancel")
}
_TO_CONFIRM = Link(
    body={
        "verb": "$request.body#/verb",
        "filter": "$request.body#/filter",
        "dry_run": False,
        "confirmation": "$response.body#/confirmation",
        "reason": "the dry run found the right ones",
    }
)
_FIRST = Link({"operation_id": "$response.body#/batch_operations/0/id"})
_MISSING = {404: "There is no such batch operation"}
_NO_CURSOR = {400: "The cursor is not of this list"}
_TAG = "batch-operations"

CREATE: Final = Document(
    "createBatchOperation",
    _TAG,
    "Do a verb to all sagas that a filter finds",
    {
        200: Answer(
            "A dry run: nothing has changed; the confirmation holds for ten minutes and begins one",
            DryRun,
            links={"createBatchOperation": _TO_CONFIRM},
        ),
        202: Answer("It has begun", BatchOperation, links={**_TO_ONE, **_TO_CHANGE}, headers=["Location"]),
    },
    {
        **BODY_PROBLEMS,
        409: "Too many sagas, or others than were confirmed; or the confirmation has run out or was used",
        428: "There is no confirmation: make a dry run first",
    },
    BatchBody,
    {
        "verb": "retry",
        "filter": {"status": "suspended", "definition": "OrderFulfillment", "since": "2026-11-26T00:00:00Z"},
        "dry_run": True,
    },
    [IDEMPOTENCY_KEY],
)
LIST: Final = Document(
    "listBatchOperations",
    _TAG,
    "Batch operations, newest first",
    {200: Answer("A page", BatchPage, links={"getBatchOperation": _FIRST, "listBatchItems": _FIRST})},
    {**_NO_CURSOR, **PARAMETER_PROBLEMS},
    parameters=[in_query("state", "Only these.", {"type": "string", "enum": list(STATES)}), _LIMIT, CURSOR],
)
GET: Final = Document(
    "getBatchOperation",
    _TAG,
    "One batch operation, and how far it is",
    {200: Answer("The batch operation", BatchOperation, links=_TO_CHANGE)},
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[_ID],
)
ITEMS: Final = Document(
    "listBatchItems",
    _TAG,
    "What came of each saga",
    {200: Answer("A page", ItemPage, links=links_to_saga("/items/0/saga_id"))},
    {**_NO_CURSOR, **_MISSING, **PARAMETER_PROBLEMS},
    parameters=[
        _ID,
        in_query("outcome", "Only these.", {"type": "string", "enum": list(OUTCOMES)}),
        _LIMIT,
        CURSOR,
    ],
)


def _change(name: str, summary: str, reason: str) -> Document:
    return Document(
        f"{name}BatchOperation",
        _TAG,
        summary,
        {202: Answer("This is how it stands", BatchOperation, links=_TO_ONE)},
        {**BODY_PROBLEMS, **_MISSING, 409: "Not possible in its state; `allowed` names what is"},
        ChangeBody,
        {"reason": reason},
        [_ID, IDEMPOTENCY_KEY],
    )


PAUSE: Final = _change("pause", "Do no more until it is resumed", "the warehouse is slow")
RESUME: Final = _change("resume", "Go on with a paused one", "the warehouse has caught up")
CANCEL: Final = _change("cancel", "Do no more, for good", "the wrong filter")
