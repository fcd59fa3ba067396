"""The routes of the verbs that people use on sagas."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from coordinator.api.documents.common import BODY_PROBLEMS, IDEMPOTENCY_KEY, IF_MATCH, SAGA_ID, Body
from coordinator.api.openapi import Answer, Document
from coordinator.store.reads import SagaSummary


class RetryBody(Body):
    """Why a suspended saga should go on, and which version of it was looked at."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]
    expected_version: Annotated[int | None, Field(ge=1, le=2**31 - 1, description="Or If-Match.")] = None


_PROBLEMS = {
    **BODY_PROBLEMS,
    404: "There is no such saga",
    409: "The saga is not suspended, or not of the kind that this verb is for",
    412: "The saga is at another version",
}

RETRY = Document(
    "retrySaga",
    "verbs",
    "Let a suspended saga go on",
    {202: Answer("It goes on; this is how it stands", SagaSummary)},
    _PROBLEMS,
    RetryBody,
    {"reason": "the payment service is back", "expected_version": 12},
    [SAGA_ID, IDEMPOTENCY_KEY, IF_MATCH],
)
REPLAY = Document(
    "replaySaga",
    "verbs",
    "Publish the last good event of a suspended choreographed saga again",
    {202: Answer("It goes on; this is how it stands", SagaSummary)},
    _PROBLEMS,
    RetryBody,
    {"reason": "the payment service is back", "expected_version": 3},
    [SAGA_ID, IDEMPOTENCY_KEY, IF_MATCH],
)
