"""The samples refuse for reasons that lie in their data, and undo exactly what they did."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from coordinator.wire.messages import CompensationCompleted, StepCompleted, StepFailed
from tests.integration.participants.office import COMMANDS, Office, step

ITEM = {"sku": "sku-book", "quantity": 1}


@pytest.mark.parametrize("participant", COMMANDS)
async def test_action_and_undo(office: Office, participant: str) -> None:
    """Each sample does its action and undoes it, and both stand in its `effects` in that order."""
    one = step(participant)
    await office.exchange.act(one)
    done = (await office.exchange.reply(one.action_id)).message
    assert isinstance(done, StepCompleted)
    await office.exchange.undo(one, result=done.result)
    undone = (await office.exchange.reply(one.undo_id)).message
    assert isinstance(undone, CompensationCompleted)
    assert undone.effect == "undone"
    query = f"select kind, command, order_id, command_id from {participant}.effects where saga_id = $1 order by seq"  # noqa: S608
    action, compensation = COMMANDS[participant]
    assert [tuple(row) for row in await office.rows(query, one.saga_id)] == [
        ("done", action, "order-1", one.action_id),
        ("undone", compensation, "order-1", one.undo_id),
    ]


@pytest.mark.parametrize(
    ("participant", "payload", "code"),
    [
        ("inventory", {"items": [{"sku": "sku-none", "quantity": 1}]}, "sku_unknown"),
        ("inventory", {"items": [{"sku": "sku-sold-out", "quantity": 1}]}, "out_of_stock"),
        ("inventory", {"items": [ITEM, {"sku": "sku-vase", "quantity": 2}]}, "out_of_stock"),
        ("inventory", {"items": []}, "payload_invalid"),
        ("payment", {"card": {"token": "tok_none"}}, "card_unknown"),
        ("payment", {"card": {"token": "tok_declined"}}, "card_declined"),
        ("payment", {"card": {"token": "tok_expired"}}, "card_declined"),
        ("payment", {"card": {"token": "tok_small"}, "amount_cents": 10_001}, "card_limit"),
        ("payment", {"amount_cents": "12"}, "payload_invalid"),
        ("shipping", {"address": {"country": "AQ", "city": "McMurdo", "street": "1"}}, "country_not_served"),
        ("shipping", {"address": {"country": "XX", "city": "Nowhere", "street": "1"}}, "country_unknown"),
        ("notification", {"email": "Bounced@example.com"}, "recipient_bounced"),
        ("notification", {"email": "unsubscribed@example.com"}, "recipient_unsubscribed"),
    ],
)
async def test_refusal(office: Office, participant: str, payload: dict[str, Any], code: str) -> None:
    """A refusal names its reason, is final, and leaves nothing behind."""
    one = step(participant, **payload)
    await office.exchange.act(one)
    message = (await office.exchange.reply(one.action_id)).message
    assert isinstance(message, StepFailed)
    assert (message.error.code, message.error.retryable) == (code, False)
    assert await office.effects(one) == []


async def test_last_one_is_sold_once(office: Office) -> None:
    """Of many orders for the last vase one gets it, and its release puts it back on the shelf."""
    many = [step("inventory", items=[{"sku": "sku-vase", "quantity": 1}]) for _ in range(10)]
    for one in many:
        await office.exchange.act(one)
    answers = {one: (await office.exchange.reply(one.action_id)).message for one in many}
    winners = [one for one, message in answers.items() if isinstance(message, StepCompleted)]
    assert len(winners) == 1
    await office.exchange.undo(winners[0])
    await office.exchange.reply(winners[0].undo_id)
    shelf = await office.rows("select on_hand, reserved from inventory.stock where sku = 'sku-vase'")
    assert tuple(shelf[0]) == (1, 0)


async def test_locked_row_holds_up_its_own_command_only(office: Office) -> None:
    """While somebody sits on a card, its payment fails retryably, the others in the batch pass, and later it passes."""
    await office.rows("insert into payment.cards values ('tok_locked', 'active', 10000)")
    locked, free = step("payment", card={"token": "tok_locked"}), step("payment")
    somebody = await asyncpg.connect(office.url)
    async with somebody.transaction():
        await somebody.execute("select from payment.cards where token = 'tok_locked' for update")
        await asyncio.gather(office.exchange.act(locked, partition=1), office.exchange.act(free, partition=1))
        message = (await office.exchange.reply(locked.action_id)).message
        assert isinstance(message, StepFailed)
        assert (message.error.code, message.error.retryable) == ("internal", True)
        assert isinstance((await office.exchange.reply(free.action_id)).message, StepCompleted)
    await somebody.close()
    await office.exchange.act(locked, 2)
    assert isinstance((await office.exchange.reply(locked.action_id, 2)).message, StepCompleted)
