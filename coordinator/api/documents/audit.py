"""The route that shows the audit."""

from __future__ import annotations

from typing import Final

import msgspec

from coordinator.api.documents.common import CURSOR, MOMENT, PARAMETER_PROBLEMS, UUID, printable
from coordinator.api.openapi import Answer, Document, in_query
from coordinator.store.audit import AuditEntry

OUTCOMES: Final = ("done", "refused")


class AuditPage(msgspec.Struct, frozen=True):
    """A page of the audit, newest first; `next_cursor` is null on the last one."""

    acts: list[AuditEntry]
    next_cursor: str | None


_TEXT = printable(200)
_DESCRIBED = [
    in_query("actor", "Who did it, or asked for it.", _TEXT),
    in_query("action", "What, such as retry; of a refusal the method and path, such as POST /v1/keys.", _TEXT),
    in_query("saga_id", "To this saga.", UUID),
    in_query("letter_id", "To this dead letter.", {"type": "integer", "minimum": 1, "maximum": 999_999_999}),
    in_query("subject", "To this, such as key:3f2a9c10.", printable(300)),
    in_query("outcome", "Only what was done, or refused.", {"type": "string", "enum": list(OUTCOMES)}),
    in_query("since", "At this moment or later.", MOMENT),
    in_query("until", "Before this moment.", MOMENT),
    in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
    CURSOR,
]
PARAMETERS: Final = tuple(parameter["name"] for parameter in _DESCRIBED)

LIST = Document(
    "listAudit",
    "audit",
    "What was done and what was refused, newest first",
    {
        200: Answer(
            "A page",
            AuditPage,
            example={
                "acts": [
                    {
                        "id": 4711,
                        "at": "2026-11-02T03:12:44.120Z",
                        "actor": "anna",
                        "action": "retry",
                        "outcome": "done",
                        "saga_id": "019a4b1e-7a52-7c3e-9d5e-0c8a51b8f2aa",
                        "letter_id": None,
                        "subject": None,
                        "reason": "the payment service is back",
                        "request_id": "5c1fd2a09be14c77",
                        "version_before": 12,
                        "version_after": 13,
                        "state_before": {"status": "suspended", "version": 12},
                        "state_after": {"status": "pending", "version": 13},
                    }
                ],
                "next_cursor": None,
            },
        )
    },
    {400: "The cursor is not of this list", **PARAMETER_PROBLEMS},
    parameters=_DESCRIBED,
)
