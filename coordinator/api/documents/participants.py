"""The routes of participants."""

from __future__ import annotations

from coordinator.api.documents.common import PARAMETER_PROBLEMS
from coordinator.api.openapi import Answer, Document, Link, in_path
from coordinator.services.participants import ParticipantDetail, ParticipantList

LIST = Document(
    "listParticipants",
    "participants",
    "Participants: flow control, what came of their actions of late, and their backlog",
    {
        200: Answer(
            "All of them, as all processes see them together",
            ParticipantList,
            links={"getParticipant": Link({"name": "$response.body#/participants/0/name"})},
        )
    },
    PARAMETER_PROBLEMS,
)
GET = Document(
    "getParticipant",
    "participants",
    "One participant, with what each process knows of it",
    {200: Answer("The participant", ParticipantDetail)},
    {404: "There is no such participant", **PARAMETER_PROBLEMS},
    parameters=[in_path("name", {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"})],
)
