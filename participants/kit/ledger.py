"""What a batch's transaction reads first and writes last; all SQL of the hot path is behind these functions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coordinator.wire.inbound import InboundCommand
from participants.kit.duties import Memory, action_id
from participants.kit.faults import Faults
from participants.kit.inbox import DeadLetter, Record
from participants.kit.participant import Connection
from participants.kit.reactions import PostponedRecord, dump_headers, load_headers
from participants.kit.replies import Outgoing, headers_to_text
from participants.kit.statements import statement


class Claim(msgspec.Struct):
    """The rows of a batch's actions, locked: what was remembered, by the action's id, at the database's time."""

    memories: dict[str, Memory]
    loaded: dict[str, tuple[str | None, str | None]]
    faults: Faults
    now_ms: int = 0


async def claim(connection: Connection, commands: Sequence[InboundCommand]) -> Claim:
    """Lock and read the row of every action that the commands are about."""
    owners = {action_id(inbound.command): inbound.command.saga_id for inbound in commands}
    mine = Claim(memories={}, loaded={}, faults=Faults())
    if not owners:
        return mine
    rows = await connection.fetch(statement("claim"), list(owners), list(owners.values()))
    for command_id, saga_id, outcome, answer, undo, now_ms, _ in rows:
        mine.memories[command_id] = Memory(command_id, saga_id, outcome, answer, undo)
        mine.loaded[command_id] = (outcome, undo)
        mine.now_ms = max(mine.now_ms, now_ms)
    mine.faults = Faults.parse(rows[0]["faults"])
    return mine


async def store(
    connection: Connection,
    mine: Claim,
    outgoing: Sequence[Outgoing],
    acknowledged: Sequence[int],
    rejected: Sequence[DeadLetter],
) -> None:
    """Remember what changed, store dead letters and replies (giving them their ids), drop acknowledged replies."""
    if rejected:
        await connection.execute(statement("bury"), *_columns(rejected, DeadLetter))
    if mine.faults.used:
        await connection.execute(statement("count_down"), list(mine.faults.used), list(mine.faults.used.values()))
    changed = [m for m in mine.memories.values() if (m.outcome, m.undo) != mine.loaded[m.command_id]]
    rows = await connection.fetch(
        statement("settle"),
        [m.command_id for m in changed],
        [m.outcome for m in changed],
        [m.answer for m in changed],
        [m.undo for m in changed],
        [m.command_id for m in mine.memories.values() if m.is_empty],
        acknowledged,
        [one.topic for one in outgoing],
        [one.partition for one in outgoing],
        [one.key for one in outgoing],
        [headers_to_text(one.headers) for one in outgoing],
        [one.value for one in outgoing],
        [one.copies for one in outgoing],
        [one.delay for one in outgoing],
    )
    for one, row in zip(outgoing, rows, strict=True):
        one.id = row["id"]


async def postpone(
    connection: Connection, failed: Sequence[Record | PostponedRecord], handled: Sequence[Record | PostponedRecord]
) -> None:
    """Keep events that failed in a way that may pass, and drop those that were handled in the end."""
    if failed:
        places = [(one.topic, one.partition, one.offset, dump_headers(one.headers), one.value) for one in failed]
        await connection.execute(statement("postpone"), *zip(*places, strict=True))
    if handled:
        keys = [(one.topic, one.partition, one.offset) for one in handled]
        await connection.execute(statement("handled"), *zip(*keys, strict=True))


async def postponed(connection: Connection, limit: int) -> list[PostponedRecord]:
    """Read the events that are to be handled again now."""
    return [
        PostponedRecord(row["topic"], row["part"], row["record_offset"], load_headers(row["headers"]), row["value"])
        for row in await connection.fetch(statement("postponed"), limit)
    ]


def _columns(rows: Sequence[msgspec.Struct], shape: type[msgspec.Struct]) -> list[list[object]]:
    return [[getattr(row, name) for row in rows] for name in shape.__struct_fields__]
