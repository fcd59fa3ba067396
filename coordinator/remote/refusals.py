"""What a command may end with: a sentence for the person, and a code for the script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordinator.errors import SagaError
from coordinator.exits import ExitCode


class Refusal(SagaError):
    """A command that cannot be done; `problem` is what the server said of it."""

    def __init__(
        self, message: str, code: ExitCode, status: int | None = None, problem: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.problem = dict(problem or {})


def misused(message: str) -> Refusal:
    """Refuse what was asked wrongly."""
    return Refusal(message, ExitCode.USAGE)
