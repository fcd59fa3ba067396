"""What several routes have in common in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from coordinator.api.openapi import Link, in_header, in_path, in_query


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

UUID: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"}
"""A UUID as it is written here: in lower case."""
SAGA_ID = in_path("saga_id", UUID)
STEP = in_path("step", {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"})
IDEMPOTENCY_KEY = in_header(
    "Idempotency-Key",
    "The same request under the same key gets the same answer for a day; see docs/adr/0025.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
)
IF_MATCH = in_header(
    "If-Match",
    "The ETag that was looked at, instead of expected_version.",
    {"type": "string", "pattern": '^"[1-9][0-9]{0,8}"$'},
)
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
"""As far as JSON Schema can say that a text is printable."""
SAYS_SOMETHING: Final = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""As PRINTABLE, and not only blanks."""
Said = Annotated[str, Field(min_length=1, max_length=500, json_schema_extra={"pattern": SAYS_SOMETHING})]
"""A reason, checked for more than its length where it is read (coordinator.services.words)."""
MOMENT: dict[str, Any] = {"type": "string", "format": "date-time", "description": "In the years 2000 to 2099."}
DEFINITION_NAME: dict[str, Any] = {"type": "string", "pattern": "^[A-Z][A-Za-z0-9]{0,62}$"}
CURSOR = in_query("cursor", "`next_cursor` of the page before; nothing else is one.", {"type": "string"})


def printable(longest: int) -> dict[str, Any]:
    """The schema of a parameter that is some text, taken literally."""
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": PRINTABLE}


def words_of(known: Iterable[str]) -> dict[str, Any]:
    """The schema of words of these, by commas."""
    one = f"(?:{'|'.join(known)})"
    return {"type": "string", "pattern": f"^{one}(?:,{one})*$"}


def links_to_saga(pointer: str) -> dict[str, Link]:
    """Links to what there is of the saga whose id stands here in the answer."""
    place = {"saga_id": f"$response.body#{pointer}"}
    names = ("getSaga", "getSagaLog", "getSagaCommands", "getSagaTimeline")
    return {name: Link(place) for name in names}


PARAMETER_PROBLEMS = {422: "A parameter is wrong; `errors` says which"}
BODY_PROBLEMS = {
    400: "Not JSON",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "Not what is wanted here; `errors` says where",
}
