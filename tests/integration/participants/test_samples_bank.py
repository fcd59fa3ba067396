"""Accounts, ledger and transfer notices: what they do, what they refuse, and that money is neither made nor lost."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from coordinator.wire.messages import CompensationCompleted, CompensationFailed, StepCompleted, StepFailed
from tests.integration.participants.office import Office
from tests.integration.participants.plans import account, balance, done, plan, refusal


async def test_money_moves_over_a_hold(bank: Office) -> None:
    """A debit takes the money off the source and holds it; the credit gives exactly that to the destination."""
    source, destination = await account(bank, 1_000), await account(bank, 5)
    debit = plan("DebitAccount", source_account=source, amount_minor=300)
    hold_id = (await done(bank, debit))["hold_id"]
    assert (await balance(bank, source), await balance(bank, destination)) == (700, 5)
    credit = plan("CreditAccount", debit.saga_id, hold_id=hold_id, destination_account=destination)
    assert await done(bank, credit) == {"amount_minor": 300}
    assert (await balance(bank, source), await balance(bank, destination)) == (700, 305)
    query = (
        "select kind, command, transfer_id, command_id, subject from accounts.effects where saga_id = $1 order by seq"
    )
    assert [tuple(row) for row in await bank.rows(query, debit.saga_id)] == [
        ("done", "DebitAccount", "transfer-1", debit.action_id, hold_id),
        ("done", "CreditAccount", "transfer-1", credit.action_id, hold_id),
    ]


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("DebitAccount", {"source_account": "acc-none"}, "account_unknown"),
        ("DebitAccount", {"source_account": "acc-closed"}, "account_closed"),
        ("DebitAccount", {"source_account": "acc-dollars"}, "currency_mismatch"),
        ("DebitAccount", {"source_account": "acc-poor", "amount_minor": 501}, "insufficient_funds"),
        ("DebitAccount", {"amount_minor": 0}, "payload_invalid"),
        ("DebitAccount", {"amount_minor": -5}, "payload_invalid"),
        ("DebitAccount", {"amount_minor": 12.5}, "payload_invalid"),
        ("CreditAccount", {"hold_id": "hld_none"}, "hold_unknown"),
        ("CreditAccount", {}, "payload_invalid"),
        ("RecordTransfer", {"currency": "XXX"}, "book_unknown"),
        ("RecordTransfer", {"currency": "XTS"}, "book_closed"),
        ("RecordTransfer", {"amount_minor": 0}, "payload_invalid"),
        ("SendTransferNotice", {"source_email": "Unsubscribed@example.com"}, "recipient_unsubscribed"),
        ("SendTransferNotice", {"source_email": None}, "payload_invalid"),
    ],
)
async def test_refusal(bank: Office, action: str, payload: dict[str, Any], code: str) -> None:
    """A refusal names its reason, is final, and leaves nothing behind."""
    one = plan(action, **payload)
    assert await refusal(bank, one) == (code, False)
    assert await bank.effects(one) == []


@pytest.mark.parametrize(
    ("currency", "status", "code"), [("USD", "open", "currency_mismatch"), ("EUR", "closed", "account_closed")]
)
async def test_refused_credit_leaves_the_hold_to_be_returned(
    bank: Office, currency: str, status: str, code: str
) -> None:
    """A destination that cannot have the money gets none, and the source gets all of it back."""
    source, destination = await account(bank, 1_000), await account(bank, 0, currency, status)
    debit = plan("DebitAccount", source_account=source, amount_minor=300)
    result = await done(bank, debit)
    credit = plan("CreditAccount", debit.saga_id, **result, destination_account=destination)
    assert await refusal(bank, credit) == (code, False)
    await bank.exchange.undo(debit, result=result)
    message = (await bank.exchange.reply(debit.undo_id)).message
    assert isinstance(message, CompensationCompleted)
    assert message.effect == "undone"
    assert (await balance(bank, source), await balance(bank, destination)) == (1_000, 0)
    assert await bank.effects(debit) == ["done", "undone"]


async def test_destination_that_does_not_exist(bank: Office) -> None:
    """An unknown destination is a refusal, and the money stays in its hold."""
    debit = plan("DebitAccount", source_account=await account(bank, 10), amount_minor=10)
    credit = plan("CreditAccount", debit.saga_id, **await done(bank, debit), destination_account="acc-none")
    assert await refusal(bank, credit) == ("account_unknown", False)
    assert await bank.effects(debit) == ["done"]


async def test_hold_is_spent_once_and_by_its_own_transfer(bank: Office) -> None:
    """A hold cannot be credited by another saga, nor twice, nor be returned after it was credited."""
    source, destination = await account(bank, 100), await account(bank, 0)
    debit = plan("DebitAccount", source_account=source, amount_minor=60)
    hold = await done(bank, debit)
    stranger = plan("CreditAccount", **hold, destination_account=destination)
    assert await refusal(bank, stranger) == ("hold_unknown", False)
    await done(bank, plan("CreditAccount", debit.saga_id, **hold, destination_account=destination))
    again = plan("CreditAccount", debit.saga_id, **hold, destination_account=destination)
    again.name = "again"
    assert await refusal(bank, again) == ("hold_credited", False)
    await bank.exchange.undo(debit, result=hold)
    message = (await bank.exchange.reply(debit.undo_id)).message
    assert isinstance(message, CompensationFailed)
    assert (message.error.code, message.error.retryable) == ("hold_credited", False)
    assert (await balance(bank, source), await balance(bank, destination)) == (40, 60)


async def test_returned_hold_is_not_credited(bank: Office) -> None:
    """A credit that comes after the return of its debit is refused."""
    source, destination = await account(bank, 100), await account(bank, 0)
    debit = plan("DebitAccount", source_account=source, amount_minor=60)
    hold = await done(bank, debit)
    await bank.exchange.undo(debit, result=hold)
    await bank.exchange.reply(debit.undo_id)
    credit = plan("CreditAccount", debit.saga_id, **hold, destination_account=destination)
    assert await refusal(bank, credit) == ("hold_returned", False)
    assert (await balance(bank, source), await balance(bank, destination)) == (100, 0)


async def test_debit_is_returned_to_an_account_that_was_closed_since(bank: Office) -> None:
    """Money that was taken off an account goes back to it whatever has become of it."""
    source = await account(bank, 100)
    debit = plan("DebitAccount", source_account=source, amount_minor=60)
    await done(bank, debit)
    await bank.rows("update accounts.accounts set status = 'closed' where account_id = $1", source)
    await bank.exchange.undo(debit)
    await bank.exchange.reply(debit.undo_id)
    assert await balance(bank, source) == 100


async def test_credit_that_comes_again_gives_nothing_more(bank: Office) -> None:
    """Every attempt of a credit has the same answer, and the money arrives once."""
    source, destination = await account(bank, 100), await account(bank, 0)
    debit = plan("DebitAccount", source_account=source, amount_minor=60)
    credit = plan("CreditAccount", debit.saga_id, **await done(bank, debit), destination_account=destination)
    await done(bank, credit)
    await bank.exchange.act(credit, 2)
    repeated = (await bank.exchange.reply(credit.action_id, 2)).message
    assert isinstance(repeated, StepCompleted)
    assert repeated.result == {"amount_minor": 60}
    assert await balance(bank, destination) == 60


async def test_void_reverses_and_deletes_nothing(bank: Office) -> None:
    """A voided transfer stands in the ledger twice, forth and back; each entry and each account adds up to zero."""
    source, destination = await account(bank, 0), await account(bank, 0)
    record = plan("RecordTransfer", source_account=source, destination_account=destination, amount_minor=75)
    result = await done(bank, record)
    query = """
        select reverses, side, account_id, change_minor from ledger.entries join ledger.postings using (entry_id)
        where saga_id = $1 order by seq, side desc
    """
    first = [(None, "debit", source, -75), (None, "credit", destination, 75)]
    assert [tuple(row) for row in await bank.rows(query, record.saga_id)] == first
    await bank.exchange.undo(record, result=result)
    await bank.exchange.reply(record.undo_id)
    entry_id = result["entry_id"]
    assert [tuple(row) for row in await bank.rows(query, record.saga_id)] == [
        *first,
        (entry_id, "debit", destination, -75),
        (entry_id, "credit", source, 75),
    ]


async def test_the_tables_refuse_what_the_code_must_not_do(bank: Office) -> None:
    """An overdrawn balance, an uneven posting and a third posting are refused by constraints, most of which say why."""
    source = await account(bank, 5)
    record = plan("RecordTransfer")
    entry_id = (await done(bank, record))["entry_id"]
    uneven = "update ledger.postings set amount_minor = 1 where entry_id = $1 and side = 'debit'"
    overdraw = "update accounts.accounts set balance_minor = balance_minor - 6 where account_id = $1"
    third = """
        insert into ledger.postings (entry_id, side, account_id, amount_minor, currency)
        select entry_id, side, 'acc-bob', amount_minor, currency from ledger.postings
        where entry_id = $1 and side = 'debit'
    """
    with pytest.raises(asyncpg.CheckViolationError, match="a_balance_is_never_negative"):
        await bank.rows(overdraw, source)
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="a_posting_has_the_amount_of_its_entry"):
        await bank.rows(uneven, entry_id)
    with pytest.raises(asyncpg.UniqueViolationError):
        await bank.rows(third, entry_id)


async def test_both_parties_are_told_in_one_mail(bank: Office) -> None:
    """A transfer notice goes to both parties, once, also when they are the same person."""
    for emails in (["ann@example.com", "bob@example.com"], ["ann@example.com", "ann@example.com"]):
        notice = plan("SendTransferNotice", source_email=emails[0], destination_email=emails[1])
        mail_id = (await done(bank, notice))["mail_id"]
        query = (
            "select mail_id, kind, about, recipients = to_jsonb($2::text[]) from notification.mails where saga_id = $1"
        )
        sent = [tuple(row) for row in await bank.rows(query, notice.saga_id, emails)]
        assert sent == [(mail_id, "transfer_notice", "transfer-1", True)]


async def test_mailbox_that_bounces_may_be_repaired(bank: Office) -> None:
    """A bounce is no refusal for good: the next attempt after the repair is carried out, and others never waited."""
    await bank.rows("insert into notification.blocked_recipients values ('full@example.com', 'bounced')")
    stuck, other = plan("SendTransferNotice", destination_email="Full@example.com"), plan("SendTransferNotice")
    await bank.exchange.act(other)
    assert await refusal(bank, stuck) == ("recipient_bounced", True)
    assert await bank.effects(stuck) == []
    assert isinstance((await bank.exchange.reply(other.action_id)).message, StepCompleted)
    await bank.rows("delete from notification.blocked_recipients where email = 'full@example.com'")
    await bank.exchange.act(stuck, 2)
    assert isinstance((await bank.exchange.reply(stuck.action_id, 2)).message, StepCompleted)
    assert await bank.effects(stuck) == ["done"]


async def test_a_refusal_for_good_outweighs_one_that_may_pass(bank: Office) -> None:
    """Of two parties, one bouncing and one unsubscribed, the one decides who can never be told."""
    emails = {"source_email": "bounced@example.com", "destination_email": "unsubscribed@example.com"}
    assert await refusal(bank, plan("SendTransferNotice", **emails)) == ("recipient_unsubscribed", False)


async def test_locked_account_holds_up_its_own_command_only(bank: Office) -> None:
    """While somebody sits on an account, its debit fails retryably, others of the batch pass, and later it passes."""
    locked = plan("DebitAccount", source_account=await account(bank, 100), amount_minor=100)
    free = plan("DebitAccount")
    somebody = await asyncpg.connect(bank.url)
    async with somebody.transaction():
        await somebody.execute(
            "select from accounts.accounts where account_id = $1 for update", locked.payload["source_account"]
        )
        await asyncio.gather(bank.exchange.act(locked, partition=1), bank.exchange.act(free, partition=1))
        message = (await bank.exchange.reply(locked.action_id)).message
        assert isinstance(message, StepFailed)
        assert (message.error.code, message.error.retryable) == ("internal", True)
        assert isinstance((await bank.exchange.reply(free.action_id)).message, StepCompleted)
    await somebody.close()
    await bank.exchange.act(locked, 2)
    assert isinstance((await bank.exchange.reply(locked.action_id, 2)).message, StepCompleted)
