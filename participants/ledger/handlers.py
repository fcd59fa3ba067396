"""Ledger: write a transfer down twice, as a debit and as a credit, and never take anything out again.

    command          done                                         refused, for good
    RecordTransfer   one entry, two postings that add up to zero  book_unknown, book_closed
    VoidTransfer     a second entry that reverses the first       (its compensation) never

Amounts are integers of the currency's minor unit. A closed book does not keep an entry from being voided: what is wrong
must be put right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

import msgspec

from participants.kit import (
    Command,
    Compensation,
    Connection,
    Effect,
    Outcome,
    Participant,
    Refused,
    Statements,
    read_payload,
)

ledger: Final = Participant("ledger", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))


class Transfer(msgspec.Struct):
    """What the ledger reads of a transfer; everything else in the payload is none of its business."""

    transfer_id: str
    source_account: str
    destination_account: str
    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=10**12)]
    currency: str


@ledger.handles_many("RecordTransfer")
async def record_transfers(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Record each transfer; one statement looks at the books and writes."""
    outcomes: list[Outcome] = [None] * len(commands)
    places: list[int] = []
    entries: list[tuple[object, ...]] = []
    for place, command in enumerate(commands):
        transfer = read_payload(command, Transfer)
        if isinstance(transfer, Refused):
            outcomes[place] = transfer
            continue
        places.append(place)
        entry_id = f"ent_{uuid4().hex}"
        entries.append((entry_id, command.command_id, command.saga_id, *msgspec.structs.astuple(transfer)))
    if entries:
        rows = await connection.fetch(sql("record"), *zip(*entries, strict=True))
        for place, entry, row in zip(places, entries, rows, strict=True):
            outcomes[place] = answer(str(entry[0]), str(entry[-1]), row["status"])
    return outcomes


def answer(entry_id: str, currency: str, status: str | None) -> Outcome:
    """Say what became of an entry; `status` is the book's, None for a currency that has no book."""
    if status == "open":
        return {"entry_id": entry_id}
    if status is None:
        return Refused("book_unknown", f"there is no book of {currency}")
    return Refused("book_closed", f"the book of {currency} is {status}")


@ledger.compensates("VoidTransfer")
async def void_transfer(command: Compensation, connection: Connection) -> Outcome:
    """Reverse the entry of the action, once."""
    entry_id = (command.original_result or {}).get("entry_id")
    recorded = await connection.fetchval(
        *(sql("void"), command.compensates, entry_id, command.saga_id, command.command_id, f"ent_{uuid4().hex}")
    )
    return Effect.UNDONE if recorded else Effect.NOTHING_TO_UNDO
