"""Accounts: take money off one account, hold it, and put it on another; no cent is ever made or lost.

    command         done                                          refused, for good
    DebitAccount    balance of the source -> a hold               account_unknown, account_closed, currency_mismatch,
                                                                  insufficient_funds
    ReturnDebit     the hold -> balance of the source             (its compensation) hold_credited
    CreditAccount   the hold -> balance of the destination        account_unknown, account_closed, currency_mismatch,
                                                                  hold_unknown, hold_credited, hold_returned

Amounts are integers of the currency's minor unit. CreditAccount has no compensation: it is the pivot of a transfer. How
much it credits is what the hold holds. A debit is returned to its source even when that has been closed since.
Holds are locked before accounts, both in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

accounts: Final = Participant("accounts", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))


class Debit(msgspec.Struct):
    """What DebitAccount reads of its payload; `amount_minor` counts the currency's minor unit."""

    transfer_id: str
    source_account: str
    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=10**12)]
    currency: str


class Credit(msgspec.Struct):
    """What CreditAccount reads of its payload; `hold_id` is what DebitAccount answered."""

    hold_id: str
    destination_account: str


class Account(msgspec.Struct):
    """What an account's row says about paying from it and to it."""

    currency: str
    status: str
    balance_minor: int


class Hold(msgspec.Struct):
    """What a hold's row says; `ending` is None while it is open."""

    saga_id: str
    amount_minor: int
    currency: str
    ending: str | None


@accounts.locks
async def lock_rows(commands: Sequence[Command | Compensation], connection: Connection) -> None:
    """Lock the holds and the accounts that a batch of debits, credits and returns is about."""
    names: set[str] = set()
    hold_ids: set[str] = set()
    debits = [command.compensates for command in commands if isinstance(command, Compensation)]
    for command in commands:
        credit, debit = read_payload(command, Credit), read_payload(command, Debit)
        if isinstance(credit, Credit):
            names.add(credit.destination_account)
            hold_ids.add(credit.hold_id)
        if isinstance(debit, Debit):
            names.add(debit.source_account)
    if hold_ids or debits:
        await connection.execute(sql("lock_holds"), list(hold_ids), debits)
    await connection.execute(sql("lock_accounts"), list(names))


@accounts.handles_many("DebitAccount")
async def debit_accounts(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Hold each transfer's amount: one look at the accounts, one decision in order of arrival, one write."""
    debits = [read_payload(command, Debit) for command in commands]
    found = await _accounts({debit.source_account for debit in debits if isinstance(debit, Debit)}, connection)
    outcomes: list[Outcome] = []
    holds: list[tuple[object, ...]] = []
    for command, debit in zip(commands, debits, strict=True):
        refusal = debit if isinstance(debit, Refused) else take(debit, found)
        if isinstance(refusal, Refused) or isinstance(debit, Refused):
            outcomes.append(refusal)
            continue
        hold_id = f"hld_{uuid4().hex}"
        owner = (command.command_id, command.saga_id, debit.transfer_id)
        holds.append((hold_id, *owner, debit.source_account, debit.amount_minor, debit.currency))
        outcomes.append({"hold_id": hold_id})
    if holds:
        await connection.execute(sql("debit"), *zip(*holds, strict=True))
    return outcomes


def take(debit: Debit, found: Mapping[str, Account]) -> Refused | None:
    """Say why the source cannot pay; when it can, take the amount off its balance."""
    refusal = unfit(debit.source_account, debit.currency, found)
    if refusal is not None:
        return refusal
    account = found[debit.source_account]
    if debit.amount_minor > account.balance_minor:
        return Refused("insufficient_funds", f"{debit.amount_minor} asked, {account.balance_minor} on the account")
    account.balance_minor -= debit.amount_minor
    return None


def unfit(account_id: str, currency: str, found: Mapping[str, Account]) -> Refused | None:
    """Say why an account can neither pay nor be paid in a currency."""
    account = found.get(account_id)
    if account is None:
        return Refused("account_unknown", f"there is no account {account_id}")
    if account.status != "open":
        return Refused("account_closed", f"the account {account_id} is {account.status}")
    if account.currency != currency:
        return Refused("currency_mismatch", f"the account {account_id} is in {account.currency}, not in {currency}")
    return None


@accounts.handles_many("CreditAccount")
async def credit_accounts(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Credit each transfer's hold to its destination: one look, one decision in order of arrival, one write."""
    credits_ = [read_payload(command, Credit) for command in commands]
    readable = [credit for credit in credits_ if isinstance(credit, Credit)]
    rows = await connection.fetch(sql("lock_holds"), list({credit.hold_id for credit in readable}), [])
    holds = {row["hold_id"]: Hold(*row[1:]) for row in rows}
    found = await _accounts({credit.destination_account for credit in readable}, connection)
    outcomes: list[Outcome] = []
    granted: list[tuple[str, ...]] = []
    for command, credit in zip(commands, credits_, strict=True):
        amount = credit if isinstance(credit, Refused) else give(credit, command.saga_id, holds, found)
        if isinstance(amount, Refused) or isinstance(credit, Refused):
            outcomes.append(amount if isinstance(amount, Refused) else None)
            continue
        granted.append((credit.hold_id, command.command_id, credit.destination_account))
        outcomes.append({"amount_minor": amount})
    if granted:
        await connection.execute(sql("credit"), *zip(*granted, strict=True))
    return outcomes


def give(credit: Credit, saga_id: str, holds: Mapping[str, Hold], found: Mapping[str, Account]) -> int | Refused:
    """End the hold and give its amount, or say why the destination cannot have it."""
    hold = holds.get(credit.hold_id)
    if hold is None or hold.saga_id != saga_id:
        return Refused("hold_unknown", f"this transfer has no hold {credit.hold_id}")
    if hold.ending is not None:
        return Refused(f"hold_{hold.ending}", f"the hold {credit.hold_id} is {hold.ending} already")
    refusal = unfit(credit.destination_account, hold.currency, found)
    if refusal is not None:
        return refusal
    hold.ending = "credited"
    return hold.amount_minor


@accounts.compensates("ReturnDebit")
async def return_debit(command: Compensation, connection: Connection) -> Outcome:
    """Return the hold of the action to its source, once; money that has gone on cannot be returned."""
    hold_id = (command.original_result or {}).get("hold_id")
    await lock_rows([command], connection)
    ending = await connection.fetchval(sql("return"), command.compensates, hold_id, command.saga_id, command.command_id)
    if ending == "credited":
        return Refused("hold_credited", "the money has reached its destination")
    return Effect.UNDONE if ending else Effect.NOTHING_TO_UNDO


async def _accounts(names: set[str], connection: Connection) -> dict[str, Account]:
    rows = await connection.fetch(sql("lock_accounts"), list(names))
    return {row["account_id"]: Account(*row[1:]) for row in rows}
