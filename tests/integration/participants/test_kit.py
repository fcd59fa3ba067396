"""What the kit promises to the author of a handler, with a small participant that runs inside the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from coordinator.wire.messages import CompensationCompleted, CompensationFailed, StepCompleted, StepFailed
from participants.kit import Command, Compensation, Connection, Effect, Outcome, Participant, Refused, Retry
from participants.kit.runner import Runner
from tests.integration.participants.exchange import Step
from tests.integration.participants.office import Office, step

TABLES = """
create table if not exists writes (
    saga_id text not null,
    what text not null,
    constraint nobody_writes_the_forbidden_word unique (what) deferrable initially deferred
);
"""


@asynccontextmanager
async def running(office: Office, participant: Participant) -> AsyncIterator[Runner]:
    """Run a participant inside the test until the block ends."""
    runner = Runner(participant, office.settings())
    with capture_logs():
        serving = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            runner.stop.set()
            await serving


def scribe(folder: Path) -> Participant:
    """Build a participant whose handlers write first and then do what the payload says."""
    tables = folder / "tables.sql"
    tables.write_text(TABLES)
    participant = Participant("scribe", tables=tables, memory=timedelta(minutes=1))

    @participant.handles("Act")
    async def act(command: Command, connection: Connection) -> Outcome:
        what = command.payload["then"]
        text = command.payload.get("text", command.saga_id)
        await connection.execute("insert into writes values ($1, $2)", command.saga_id, text)
        if what.startswith("raise"):
            raise ANSWERS[what]
        if what == "break":
            await connection.execute("select 1 / 0")
        if what == "swallow":
            with suppress(asyncpg.DivisionByZeroError):
                await connection.execute("select 1 / 0")
        answer: Outcome = ANSWERS.get(what, {"text": text})
        return answer

    @participant.compensates("Undo")
    async def undo(command: Compensation, connection: Connection) -> Outcome:
        if command.original_payload.get("undo") == "return Refused" and command.attempt == 1:
            await connection.execute("insert into writes values ($1, 'half undone')", command.saga_id)
            return Refused("no", "not like this")
        if command.attempt == 1:
            raise ConnectionError("the printer is off")
        deleted = await connection.execute("delete from writes where saga_id = $1", command.saga_id)
        return Effect.NOTHING_TO_UNDO if deleted == "DELETE 0" else None

    return participant


ANSWERS: dict[str, Any] = {
    "raise Refused": Refused("no", "never"),
    "return Refused": Refused("no", "never"),
    "raise Retry": Retry("later", "not now"),
    "return Retry": Retry("later", "not now"),
    "answer a list": [1, 2],
    "answer an effect": Effect.UNDONE,
    "answer too much": {"text": "x" * 300_000},
    "answer a huge number": {"number": 10**30},
    "answer a NUL": {"text": "\0"},
}
FAILURES = {
    "raise Refused": ("no", False, 0),
    "return Refused": ("no", False, 1),
    "raise Retry": ("later", True, 0),
    "return Retry": ("later", True, 0),
    "break": ("internal", True, 0),
    "swallow": ("internal", True, 0),
    "answer a list": ("internal", True, 0),
    "answer an effect": ("internal", True, 0),
    "answer too much": ("internal", True, 0),
    "answer a huge number": ("internal", True, 0),
    "answer a NUL": ("internal", True, 0),
}


@pytest.fixture
async def desk(own_office: Office, tmp_path: Path) -> AsyncIterator[Office]:
    """Give an office with the scribe at work."""
    await own_office.open("scribe")
    async with running(own_office, scribe(tmp_path)):
        yield own_office


async def test_failures_in_a_batch_fail_alone(desk: Office) -> None:
    """Whatever goes wrong in a handler, its writes are rolled back alone and all others in the batch are done."""
    bad = {what: step("scribe", then=what) for what in FAILURES}
    good = [step("scribe", then="work") for _ in bad]
    for one, other in zip(good, bad.values(), strict=True):
        await desk.exchange.act(one, partition=0)
        await desk.exchange.act(other, partition=0)
    for one in good:
        assert isinstance((await desk.exchange.reply(one.action_id)).message, StepCompleted)
        assert await _writes(desk, one) == 1
    for what, one in bad.items():
        message = (await desk.exchange.reply(one.action_id)).message
        assert isinstance(message, StepFailed), what
        assert (message.error.code, message.error.retryable, await _writes(desk, one)) == FAILURES[what], what


async def test_command_that_cannot_be_committed_fails_alone(desk: Office) -> None:
    """A command that breaks the commit itself fails retryably, and the batch around it is committed."""
    many = [step("scribe", then="work", text="twin" if number in {3, 7} else f"{number}") for number in range(10)]
    await asyncio.gather(*(desk.exchange.act(one, partition=0) for one in many))
    messages = [(await desk.exchange.reply(one.action_id)).message for one in many]
    failed = [message for message in messages if isinstance(message, StepFailed)]
    assert [message.error.code for message in failed] == ["internal"]
    assert (await desk.rows("select count(*) from scribe.writes"))[0][0] == 9
    assert (await desk.rows("select count(*) from scribe.kit_command"))[0][0] == 9


async def test_failed_compensation_is_tried_again(desk: Office) -> None:
    """A compensation that raises is not remembered; its second attempt undoes."""
    one = step("scribe", then="work")
    await desk.exchange.act(one)
    await desk.exchange.reply(one.action_id)
    await desk.exchange.undo(one, 1)
    message = (await desk.exchange.reply(one.undo_id)).message
    assert isinstance(message, CompensationFailed)
    assert message.error.message == "ConnectionError: the printer is off"
    await desk.exchange.undo(one, 2)
    done = (await desk.exchange.reply(one.undo_id, 2)).message
    assert isinstance(done, CompensationCompleted)
    assert done.effect == "undone"
    assert await _writes(desk, one) == 0


async def test_refused_compensation_leaves_nothing_behind(desk: Office) -> None:
    """A compensation that writes and then returns a refusal is rolled back, and its second attempt undoes."""
    one = step("scribe", then="work", undo="return Refused")
    await desk.exchange.act(one)
    await desk.exchange.reply(one.action_id)
    await desk.exchange.undo(one, 1)
    message = (await desk.exchange.reply(one.undo_id)).message
    assert isinstance(message, CompensationFailed)
    assert (message.error.code, message.error.retryable) == ("no", False)
    assert await _writes(desk, one) == 1
    await desk.exchange.undo(one, 2)
    assert isinstance((await desk.exchange.reply(one.undo_id, 2)).message, CompensationCompleted)
    assert await _writes(desk, one) == 0


async def test_acknowledged_replies_leave_the_outbox(desk: Office) -> None:
    """A reply that Kafka has is deleted, also when no further command comes along."""
    one = step("scribe", then="work")
    await desk.exchange.act(one)
    await desk.exchange.reply(one.action_id)
    await desk.until("select count(*) = 0 from scribe.kit_outbox")


async def test_memory_ends(own_office: Office, tmp_path: Path) -> None:
    """Commands are forgotten when the participant's memory of them has ended, and not before."""
    await own_office.open("scribe")
    participant = scribe(tmp_path)
    one, other = step("scribe", then="work"), step("scribe", then="work")
    async with running(own_office, participant) as runner:
        for each in (one, other):
            await own_office.exchange.act(each)
            await own_office.exchange.reply(each.action_id)
        age = "update scribe.kit_command set at = at - interval '61 seconds' where command_id = $1"
        await own_office.rows(age, one.action_id)
        await runner.prune()
        left = await own_office.rows("select command_id from scribe.kit_command")
        assert [row["command_id"] for row in left] == [other.action_id]


async def _writes(office: Office, one: Step) -> int:
    return len(await office.rows("select from scribe.writes where saga_id = $1", one.saga_id))
