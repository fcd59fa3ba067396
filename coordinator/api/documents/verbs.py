"""The routes of the verbs that people use on sagas."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from coordinator.api.documents.common import (
    BODY_PROBLEMS,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    SAGA_ID,
    Body,
    Said,
    links_to_saga,
)
from coordinator.api.openapi import Answer, Document, Link, in_query
from coordinator.services.verbs import Preview
from coordinator.store.reads import SagaSummary

StepName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_]*$")]


class VerbBody(Body):
    """Why, and which version of the saga was looked at; a preview needs neither."""

    reason: Annotated[Said | None, Field(description="Needed unless this is a preview.")] = None
    expected_version: Annotated[
        int | None, Field(ge=1, le=2**31 - 1, description="Or If-Match; needed unless this is a preview.")
    ] = None


class RetryBody(VerbBody):
    """What to try again; a payload is what the failed step shall be asked instead, which only those who decide say."""

    step: StepName | None = None
    payload: Annotated[dict[str, Any] | None, Field(description="Needs `step`, and the permission `decide`.")] = None


class SkipBody(VerbBody):
    """Which step to leave out."""

    step: StepName


class ResolveBody(VerbBody):
    """What has really happened to a step; `result` is what it answered, where it is completed."""

    step: StepName
    resolution: Literal["completed", "failed", "undone"]
    result: Annotated[
        dict[str, Any] | None, Field(description="Must fit the step's model; at most 128 KiB as JSON.")
    ] = None


_PREVIEW = in_query(
    "preview",
    "Say what would happen, and change nothing.",
    {"type": "string", "enum": ["true", "false"], "default": "false"},
)
_PROBLEMS = {
    **BODY_PROBLEMS,
    404: "There is no such saga",
    409: "Not possible as the saga stands; `allowed` names the verbs that are",
    412: "The saga is at another version: `version` says at which",
    428: "Neither expected_version nor If-Match says which version was looked at",
}


_ON = {"suspend": ("resume", "compensate"), "resume": ("suspend",)}


def _links(name: str) -> dict[str, Link]:
    """Where a saga that was steered is, and what may come next."""
    body = {"reason": "it is time to", "expected_version": "$response.body#/version"}
    following = {f"{verb}Saga": Link({"saga_id": "$response.body#/id"}, body) for verb in _ON.get(name, ())}
    return {**links_to_saga("/id"), **following}


def _verb(name: str, summary: str, body: type[VerbBody] = VerbBody, **members: Any) -> Document:
    return Document(
        f"{name}Saga",
        "verbs",
        summary,
        {
            200: Answer("A preview; its ETag is the version for which it holds", Preview, headers=["ETag"]),
            202: Answer("It is done; this is how the saga stands", SagaSummary, links=_links(name), headers=["ETag"]),
        },
        _PROBLEMS,
        body,
        {"reason": "the payment service is back", "expected_version": 12, **members},
        [SAGA_ID, _PREVIEW, IDEMPOTENCY_KEY, IF_MATCH],
    )


RETRY: Final = _verb("retry", "Let a suspended saga go on, and try again what was given up", RetryBody)
SKIP: Final = _verb("skip", "Leave out a step that did not run", SkipBody, step="send_confirmation")
RESOLVE: Final = _verb(
    "resolve",
    "Say what really happened to a step",
    ResolveBody,
    step="process_payment",
    resolution="completed",
    result={"payment_id": "pay-1"},
)
COMPENSATE: Final = _verb("compensate", "Cancel a saga: turn back and undo what was done")
SUSPEND: Final = _verb("suspend", "Issue nothing until further notice")
RESUME: Final = _verb("resume", "Let a saga go on that was suspended on purpose")
ABANDON: Final = _verb("abandon", "End a saga as it is; its effects may remain")
REPLAY: Final = _verb("replay", "Publish the last good event of a suspended choreographed saga again")
