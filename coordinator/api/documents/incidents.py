"""The routes of incidents."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from coordinator.api.documents.common import (
    BODY_PROBLEMS,
    CURSOR,
    DEFINITION_NAME,
    IDEMPOTENCY_KEY,
    MOMENT,
    PARAMETER_PROBLEMS,
    Body,
    Said,
    printable,
)
from coordinator.api.openapi import Answer, Document, Link, in_header, in_path, in_query
from coordinator.services.incidents import ASSIGNEE_MAX, NOTE_MAX, IncidentDetail
from coordinator.store.incidents import IncidentSummary

STATES = ("open", "resolved")


class AssignBody(Body):
    """Who looks after an incident from now on; null for nobody."""

    assignee: Annotated[str | None, Field(min_length=1, max_length=ASSIGNEE_MAX)]
    reason: Said | None = None


class NoteBody(Body):
    """What was found out."""

    text: Annotated[str, Field(min_length=1, max_length=NOTE_MAX)]


class ResolveIncidentBody(Body):
    """Why an incident needs nobody any more."""

    reason: Said


class IncidentList(msgspec.Struct, frozen=True):
    """A page of incidents, newest first; `next_cursor` is null on the last one.

    A page may hold less than `limit`, even nothing, and another one follow: a filter by definition, and lists that are
    not of open incidents only, look at a bounded number of incidents per page.
    """

    incidents: list[IncidentSummary]
    next_cursor: str | None


INCIDENT_ID = in_path("incident_id", {"type": "integer", "minimum": 1, "maximum": 2**63 - 1})
IF_MATCH: dict[str, Any] = in_header(
    "If-Match", "The ETag that was looked at.", {"type": "string", "pattern": f'^"[0-9]{{1,9}}-({"|".join(STATES)})"$'}
)

_ACTS = ("assignIncident", "noteIncident", "resolveIncident")
_MISSING = {404: "There is no such incident"}
_ACT = {
    **BODY_PROBLEMS,
    **_MISSING,
    409: "The incident is resolved, or a verb on its saga is asked for; `incident_state` and `saga_status` say more",
    412: "Somebody has acted since it was looked at",
}
_ACTED = "This is how it stands"
_TO_IT = {"getIncident": Link({"incident_id": "$response.body#/id"})}
_PARAMETERS = [INCIDENT_ID, IDEMPOTENCY_KEY, IF_MATCH]

LIST = Document(
    "listIncidents",
    "incidents",
    "Incidents, newest first",
    {
        200: Answer(
            "A page", IncidentList, links={"getIncident": Link({"incident_id": "$response.body#/incidents/0/id"})}
        )
    },
    {400: "The cursor is not of this list", **PARAMETER_PROBLEMS},
    parameters=[
        in_query("state", "Whether it needs a person still.", {"type": "string", "enum": [*STATES]}),
        in_query("reason", "What went wrong, a word.", printable(100)),
        in_query("assignee", "Who looks after it.", printable(ASSIGNEE_MAX)),
        in_query("definition", "A definition's name.", DEFINITION_NAME),
        in_query("since", "Opened at this moment or later.", MOMENT),
        in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
        CURSOR,
    ],
)
GET = Document(
    "getIncident",
    "incidents",
    "One incident with its saga, its notes, and what can be done",
    {
        200: Answer(
            "The incident; the ETag is for If-Match",
            IncidentDetail,
            links={
                **{name: Link({"incident_id": "$response.body#/id"}) for name in _ACTS},
                "getSaga": Link({"saga_id": "$response.body#/saga_id"}),
            },
            headers=["ETag"],
        )
    },
    {**_MISSING, **PARAMETER_PROBLEMS},
    parameters=[INCIDENT_ID],
)
ASSIGN = Document(
    "assignIncident",
    "incidents",
    "Say who looks after an open incident",
    {200: Answer(_ACTED, IncidentSummary, links=_TO_IT, headers=["ETag"])},
    _ACT,
    AssignBody,
    {"assignee": "ann"},
    _PARAMETERS,
)
NOTE = Document(
    "noteIncident",
    "incidents",
    "Write down what was found out about an incident",
    {200: Answer(_ACTED, IncidentSummary, links=_TO_IT, headers=["ETag"])},
    _ACT,
    NoteBody,
    {"text": "the carrier's API answers 500 since 02:40; their ticket is 4711"},
    _PARAMETERS,
)
RESOLVE = Document(
    "resolveIncident",
    "incidents",
    "Close an incident that no verb closes",
    {200: Answer(_ACTED, IncidentSummary, links=_TO_IT, headers=["ETag"])},
    _ACT,
    ResolveIncidentBody,
    {"reason": "the customer was called and has agreed"},
    _PARAMETERS,
)
