"""What a handler can say about a command, besides "done"."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Effect(StrEnum):
    """What a compensation found and did."""

    UNDONE = "undone"
    NOTHING_TO_UNDO = "nothing_to_undo"


class Refused(Exception):
    """No, and asking again will not help: `code` is for machines, `message` for people.

    Raised, it rolls back what the handler wrote. Returned for an action, it keeps what the handler wrote, and costs
    less: return it when nothing was written or when the refusal itself leaves a trace. It is remembered.
    Of a compensation it is rolled back, raised or returned, and not remembered, so that a later attempt may succeed.
    """

    retryable = False

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Retry(Exception):
    """Not now: what the handler wrote is rolled back, nothing is remembered, a later attempt may succeed."""

    retryable = True

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


Outcome = Mapping[str, object] | Effect | Refused | Retry | None
