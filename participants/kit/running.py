"""Running handlers: swiftly, all at once and unprotected, or carefully, each command behind a savepoint."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import Compensation
from participants.kit.database import AGAIN, ConnectionLost
from participants.kit.duties import Prepared, prepare
from participants.kit.outcomes import Outcome, Refused, Retry
from participants.kit.participant import Connection, Handler
from participants.kit.reactions import InboundEvent, check_said

log = structlog.get_logger()


class NeedsCare(Exception):
    """A handler raised, or wants its writes undone, where no savepoint protects the others."""


async def run_swiftly(handler: Handler, group: Sequence[InboundCommand], connection: Connection) -> list[Prepared]:
    """Run a handler over its commands; raises `NeedsCare` when the transaction must not be kept."""
    try:
        outcomes = await handler.run([inbound.command for inbound in group], connection)
        prepared = [_prepare(inbound, outcome) for inbound, outcome in zip(group, outcomes, strict=True)]
    except AGAIN:
        raise
    except Exception as error:
        _raise_if_lost(connection, error)
        raise NeedsCare from error
    if any(_undoes_writes(inbound, outcome) for inbound, outcome in zip(group, prepared, strict=True)):
        raise NeedsCare
    return prepared


async def run_carefully(
    handler: Handler, group: Sequence[InboundCommand], connection: Connection, *, patient: bool
) -> list[Prepared]:
    """Run a handler command by command; what one of them wrote is rolled back alone.

    A lost lock is raised while `patient`, so that the batch is done again, and blamed on the command afterwards.
    """
    return [await _run_one(handler, inbound, connection, patient=patient) for inbound in group]


async def _run_one(handler: Handler, inbound: InboundCommand, connection: Connection, *, patient: bool) -> Prepared:
    try:
        async with connection.transaction():
            (outcome,) = await handler.run([inbound.command], connection)
            prepared = _prepare(inbound, outcome)
            if isinstance(prepared, Refused | Retry) and _undoes_writes(inbound, prepared):
                raise prepared  # noqa: TRY301 (leaving the block by an exception is what rolls back)
    except (Refused, Retry) as answer:
        return answer
    except AGAIN as error:
        if patient:
            raise
        return internal(inbound, error)
    except Exception as error:  # noqa: BLE001 (whatever a handler raises is its answer)
        _raise_if_lost(connection, error)
        return internal(inbound, error)
    return prepared


def _prepare(inbound: InboundCommand, outcome: Outcome) -> Prepared:
    """Check an answer and, where it becomes an event, what that would say; raises for what no reader would accept."""
    prepared = prepare(inbound, outcome)
    if isinstance(inbound, InboundEvent):
        check_said(inbound, prepared)
    return prepared


def _undoes_writes(inbound: InboundCommand, outcome: Prepared) -> bool:
    """Say whether an answer that was returned takes back what the handler wrote, as one that is raised does.

    A failure that is not remembered leaves nothing behind, and of a compensation no failure is.
    """
    if isinstance(outcome, Refused):
        return isinstance(inbound.command, Compensation)
    return isinstance(outcome, Retry)


def _raise_if_lost(connection: Connection, error: Exception) -> None:
    """Tell an error of the handler from the end of the connection: handlers may talk to others, and fail at it."""
    if connection.is_closed():
        raise ConnectionLost(str(error)) from error


def internal(inbound: InboundCommand, error: Exception) -> Retry:
    """Turn an exception that nobody foresaw into a failure that may pass, and log it."""
    log.error(
        "handler_failed",
        command=inbound.name,
        command_id=inbound.command.command_id,
        attempt=inbound.command.attempt,
        exc_info=error,
    )
    return Retry("internal", f"{type(error).__name__}: {error}")
