"""The error tree, by fault: whose mistake it is decides what happens next.

SagaError
+-- CallerError         the caller asked for something impossible: say so, change nothing (4xx)
+-- DefinitionError     a saga definition cannot work: refuse to start, with a sentence that says why
+-- ConfigurationError  a setting is wrong: name it and exit at once
+-- Unavailable         Kafka or Postgres does not answer: wait, say so, heal (503)
+-- InvariantError      our own state contradicts itself: stop, keep the evidence, wake someone
"""

from __future__ import annotations


class SagaError(Exception):
    """Something this project refuses to do; the class says whose fault it is."""


class CallerError(SagaError):
    """The caller asked for something impossible; nothing was changed."""

    status_code = 400
    kind = "bad-request"


class NotFound(CallerError):
    """What was asked for does not exist."""

    status_code = 404
    kind = "not-found"


class Conflict(CallerError):
    """The request contradicts the present state."""

    status_code = 409
    kind = "conflict"


class StaleVersion(CallerError):
    """The saga has moved on since the caller looked at it."""

    status_code = 412
    kind = "stale-version"


class InvalidInput(CallerError):
    """A field of the request is wrong; `pointer` (RFC 6901) says which."""

    status_code = 422
    kind = "invalid-input"

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


class DefinitionError(SagaError):
    """A saga definition that cannot work; the message is the sentence that says why."""


class ConfigurationError(SagaError):
    """A wrong setting; the message names it and says what would be right."""


class Unavailable(SagaError):
    """Kafka or Postgres does not answer now; trying again later may help."""


class InvariantError(SagaError):
    """Our own state contradicts itself; stop and keep the evidence."""
