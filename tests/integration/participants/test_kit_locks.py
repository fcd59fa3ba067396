"""What the kit promises to a participant that locks its rows before its handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from coordinator.wire.messages import StepCompleted, StepFailed
from participants.kit import Command, Compensation, Connection, Outcome, Participant
from tests.integration.participants.office import Office, step
from tests.integration.participants.test_kit import running


def locksmith(folder: Path, seen: list[list[str]]) -> Participant:
    """Build a participant whose lock notes the batch, and breaks when one of its commands says so."""
    tables = folder / "tables.sql"
    tables.write_text("select 1;")
    participant = Participant("locksmith", tables=tables)

    @participant.locks
    async def lock(commands: Sequence[Command | Compensation], connection: Connection) -> None:
        seen.append([command.direction for command in commands])
        if any(command.payload.get("jam") for command in commands):
            raise ValueError("jammed")

    @participant.handles("Act")
    async def act(command: Command, connection: Connection) -> Outcome:
        return {"held": len(seen)}

    @participant.compensates("Undo")
    async def undo(command: Compensation, connection: Connection) -> Outcome: ...

    return participant


async def test_lock_sees_every_command_of_a_batch(own_office: Office, tmp_path: Path) -> None:
    """The lock is asked before any handler, with actions and compensations alike."""
    seen: list[list[str]] = []
    await own_office.open("locksmith")
    async with running(own_office, locksmith(tmp_path, seen)):
        one = step("locksmith")
        await own_office.exchange.act(one)
        done = (await own_office.exchange.reply(one.action_id)).message
        assert isinstance(done, StepCompleted)
        assert done.result == {"held": 1}
        await own_office.exchange.undo(one)
        await own_office.exchange.reply(one.undo_id)
    assert seen == [["action"], ["compensation"]]


async def test_broken_lock_is_blamed_on_the_command_that_breaks_it(own_office: Office, tmp_path: Path) -> None:
    """A command that the lock cannot stand fails in a way that may pass, and the others of its batch are done."""
    await own_office.open("locksmith")
    async with running(own_office, locksmith(tmp_path, [])):
        jam, others = step("locksmith", jam=True), [step("locksmith") for _ in range(5)]
        await asyncio.gather(*(own_office.exchange.act(one, partition=0) for one in (jam, *others)))
        message = (await own_office.exchange.reply(jam.action_id)).message
        assert isinstance(message, StepFailed)
        assert (message.error.code, message.error.retryable) == ("internal", True)
        for one in others:
            assert isinstance((await own_office.exchange.reply(one.action_id)).message, StepCompleted)
