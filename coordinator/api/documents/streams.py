"""The routes that tell what happens when it happens."""

from __future__ import annotations

from typing import Any

import msgspec

from coordinator.api.documents.common import DEFINITION_NAME, PARAMETER_PROBLEMS, SAGA_ID
from coordinator.api.openapi import EVENT_STREAM, Answer, Document, in_header, in_query
from coordinator.saga.model import SagaStatus


class Transition(msgspec.Struct, frozen=True):
    """The data of an event `transition`; `old_status` is null where it is not known, and for a saga's first entry."""

    saga_id: str
    definition: str
    version: int
    status: str
    old_status: str | None
    step_name: str | None
    event: str
    at: str


_STREAMED = (
    "Server-sent events: `transition` (data: this shape), `gap` (`from`, `to`: what happened between is not told),"
    " `overrun` (you are too slow), `end` (`reason`). A comment every few seconds shows that the stream lives. It is"
    " closed after a while: connect again with Last-Event-ID."
)
_EXAMPLE = (
    'id: 7\nevent: transition\ndata: {"saga_id":"01890a5d-ac96-774b-bcce-b302099a8057","definition":"OrderFulfillment",'
    '"version":7,"status":"completed","old_status":"pending","step_name":"send_confirmation","event":"StepCompleted",'
    '"at":"2025-11-26T02:10:24.123Z"}\n\n'
)
_PROBLEMS = {**PARAMETER_PROBLEMS, 429: "Too many streams, or too many requests: ask later"}
_LAST_EVENT_ID = in_header(
    "Last-Event-ID", "The id of the last event that was received; the next one follows.", {"type": "string"}
)
_STATUS: dict[str, Any] = {"type": "array", "items": {"type": "string", "enum": list(SagaStatus)}}

SAGA_EVENTS = Document(
    "streamSagaEvents",
    "streams",
    "Follow one saga from its beginning until it has ended",
    {
        200: Answer(_STREAMED, Transition, EVENT_STREAM, _EXAMPLE),
        204: Answer("The saga has ended and nothing follows the given event: do not connect again"),
    },
    {**_PROBLEMS, 404: "There is no such saga"},
    parameters=[SAGA_ID, _LAST_EVENT_ID],
)
EVENTS = Document(
    "streamEvents",
    "streams",
    "Follow all sagas that fit a filter, from now on",
    {200: Answer(_STREAMED, Transition, EVENT_STREAM, _EXAMPLE)},
    _PROBLEMS,
    parameters=[
        in_query("definition", "Only of this definition.", DEFINITION_NAME),
        in_query("status", "Only transitions that led to this; may be repeated.", _STATUS),
        _LAST_EVENT_ID,
    ],
)
