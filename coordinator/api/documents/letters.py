"""The routes of dead letters."""

from __future__ import annotations

from typing import Annotated, Any

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
    printable,
)
from coordinator.api.openapi import Answer, Document, Link, in_header, in_path, in_query
from coordinator.services.letter_views import DeadLetterDetail
from coordinator.services.letters import KINDS, STATES
from coordinator.store.letters import LetterSummary
from coordinator.wire.strict_json import MAX_VALUE_BYTES

HEADERS_MAX = 200
HEADER_BYTES_MAX = 16 * 1024


class RedriveBody(Body):
    """Why a record should be sent again, and what of it is to be another; what is left out stays as it is."""

    reason: Said
    value: Annotated[
        str | None, Field(max_length=MAX_VALUE_BYTES, description="The whole value instead, as text (JSON).")
    ] = None
    value_base64: Annotated[
        str | None, Field(max_length=MAX_VALUE_BYTES * 4 // 3 + 4, description="The same for what is no text.")
    ] = None
    headers: Annotated[
        dict[str, str | None] | None,
        Field(max_length=HEADERS_MAX, description="Headers by name, instead of those or besides; null removes one."),
    ] = None
    new_identity: Annotated[bool, Field(description="The edit may be about another saga or command.")] = False


class DiscardBody(Body):
    """Why a record is not wanted any more."""

    reason: Said


class DeadLetterPage(msgspec.Struct, frozen=True):
    """A page of dead letters, newest first; `next_cursor` is null on the last one."""

    dead_letters: list[LetterSummary]
    next_cursor: str | None


LETTER_ID = in_path("letter_id", {"type": "integer", "minimum": 1, "maximum": 2**63 - 1})
IF_MATCH: dict[str, Any] = in_header(
    "If-Match", "The ETag that was looked at.", {"type": "string", "pattern": f'^"[0-9]{{1,9}}-({"|".join(STATES)})"$'}
)

_TO_IT = {"getDeadLetter": Link({"letter_id": "$response.body#/id"})}
_MISSING = {404: "There is no such dead letter"}
_ACT = {
    **BODY_PROBLEMS,
    **_MISSING,
    409: "The letter is not open any more, or its saga's verbs are asked for; `letter_state` says how it stands",
    412: "The letter has moved on since it was looked at",
}

LIST = Document(
    "listDeadLetters",
    "dead-letters",
    "Dead letters, newest first",
    {
        200: Answer(
            "A page", DeadLetterPage, links={"getDeadLetter": Link({"letter_id": "$response.body#/dead_letters/0/id"})}
        )
    },
    {400: "The cursor is not of this list", **PARAMETER_PROBLEMS},
    parameters=[
        in_query("state", "What became of it.", {"type": "string", "enum": [*STATES]}),
        in_query("kind", "A record that came, or a command that was given up.", {"type": "string", "enum": [*KINDS]}),
        in_query("reason", "Why it was set aside, a word.", printable(100)),
        in_query("saga_id", "The saga that it is about.", UUID),
        in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
        CURSOR,
    ],
)
GET = Document(
    "getDeadLetter",
    "dead-letters",
    "One dead letter with its record",
    {
        200: Answer(
            "The letter; the ETag is for If-Match",
            DeadLetterDetail,
            links={
                "redriveDeadLetter": Link({"letter_id": "$response.body#/id"}),
                "discardDeadLetter": Link({"letter_id": "$response.body#/id"}),
            },
            headers=["ETag"],
        )
    },
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[LETTER_ID],
)
REDRIVE = Document(
    "redriveDeadLetter",
    "dead-letters",
    "Send an open record again, as it came or edited (an edit needs the permission `decide`)",
    {202: Answer("It is sent, or will be; this is how it stands", LetterSummary, links=_TO_IT, headers=["ETag"])},
    _ACT,
    RedriveBody,
    {"reason": "the result lacked its id", "value": '{"saga_id": "...", "result": {"reservation_id": "r-1"}}'},
    [LETTER_ID, IDEMPOTENCY_KEY, IF_MATCH],
)
DISCARD = Document(
    "discardDeadLetter",
    "dead-letters",
    "Close an open record for good",
    {200: Answer("It is closed; this is how it stands", LetterSummary, links=_TO_IT, headers=["ETag"])},
    _ACT,
    DiscardBody,
    {"reason": "a test message that went to the wrong topic"},
    [LETTER_ID, IDEMPOTENCY_KEY, IF_MATCH],
)
