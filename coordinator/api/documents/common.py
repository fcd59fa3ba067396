"""What several routes have in common in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from coordinator.api.openapi import in_header, in_path


class Body(BaseModel):
    """A request body: strict, and with no field that nobody knows."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


TAGS = {
    "sagas": "Start sagas and look at them.",
    "steps": "Answer the external steps of sagas.",
    "verbs": "Let sagas go on, turn them back, or end them.",
    "batch-operations": "Do a verb to many sagas, and see how far it is.",
    "incidents": "Problems of sagas that need a person: take them, say what was found, close them.",
    "dead-letters": "What could not be applied: look at it, send it again, or let it go.",
    "definitions": "What can be started.",
    "participants": "Who does the steps.",
    "keys": "Who may do what.",
    "streams": "Hear what happens to sagas when it happens.",
    "audit": "What was done, by whom and why, and what was refused.",
}

SAGA_ID = in_path("saga_id", {"type": "string", "format": "uuid"})
STEP = in_path("step", {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"})
IDEMPOTENCY_KEY = in_header(
    "Idempotency-Key",
    "The same request under the same key gets the same answer for a day; see docs/adr/0025.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
IF_MATCH = in_header("If-Match", "The ETag that was looked at, instead of expected_version.", {"type": "string"})
MOMENT: dict[str, Any] = {"type": "string", "format": "date-time"}

PARAMETER_PROBLEMS = {422: "A parameter is wrong; `errors` says which"}
BODY_PROBLEMS = {
    400: "Not JSON",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "Not what is wanted here; `errors` says where",
}
