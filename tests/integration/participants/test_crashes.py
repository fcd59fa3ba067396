"""Processes that die, double, or lose their servers: no effect is lost or doubled, and every reply leaves."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from coordinator.wire.messages import CompensationCompleted, StepCompleted, StepFailed
from deploy.local.stack import LocalStack
from tests.integration.participants.exchange import Step
from tests.integration.participants.office import Office, step


@pytest.mark.parametrize("phase", ["before_commit", "after_commit", "after_publish"])
async def test_killed_participant_answers_after_its_restart(
    real_kafka: LocalStack, own_office: Office, phase: str
) -> None:
    """A participant killed at any point of its work has done it once, and has answered, soon after its restart."""
    office = own_office
    await office.open("payment")
    child = await office.launched("payment", "--instance", "one")
    await office.fault("payment", "crash", phase=phase, times=1)
    one = step("payment")
    await office.exchange.act(one)
    assert await asyncio.to_thread(child.wait, 20) == -signal.SIGKILL
    expected = [] if phase == "before_commit" else ["done"]
    assert await office.effects(one) == expected
    if phase == "after_commit":
        assert office.exchange.heard[one.action_id] == []
    child = await office.launched("payment", "--instance", "one")
    heard = await office.exchange.reply(one.action_id)
    assert isinstance(heard.message, StepCompleted)
    assert {each.ce_id for each in office.exchange.heard[one.action_id]} == {f"{one.action_id}#reply"}
    assert await office.effects(one) == ["done"]
    await asyncio.to_thread(child.stop)


async def test_reply_left_behind_does_not_need_its_command(real_kafka: LocalStack, own_office: Office) -> None:
    """A committed reply leaves after a restart even when Kafka never delivers the command again."""
    office = own_office
    await office.open("payment")
    child = await office.launched("payment", "--instance", "one")
    one = step("payment")
    await office.fault("payment", "slow", seconds=1.5, times=1)
    await office.exchange.act(one)
    await office.until("select count(*) = 1 from payment.kit_outbox")
    assert await asyncio.to_thread(child.stop) == 0
    assert office.exchange.heard[one.action_id] == []
    child = await office.launched("payment", "--instance", "one")
    await office.exchange.reply(one.action_id)
    assert await office.effects(one) == ["done"]
    await asyncio.to_thread(child.stop)


async def test_zombies_share_one_effect(real_kafka: LocalStack, own_office: Office) -> None:
    """Two processes that get the same commands at once, and undos ahead of actions, keep every duty between them."""
    office = own_office
    await office.open("payment")
    children = [office.launch("payment"), office.launch("payment", "--instance", "two")]
    for child in children:
        await asyncio.to_thread(child.wait_for_line, r'"partitions": \[\d, \d\]', timeout_s=30)
    doubled, raced = [step("payment") for _ in range(100)], [step("payment") for _ in range(100)]
    await asyncio.gather(
        *(office.exchange.act(one, partition=partition) for partition in range(4) for one in doubled),
        *(office.exchange.act(one, partition=0) for one in raced),
        *(office.exchange.undo(one, partition=3) for one in raced),
    )
    for one in doubled:
        results = [
            each.message.result
            for each in await office.exchange.replies(one.action_id, 4)
            if isinstance(each.message, StepCompleted)
        ]
        assert len(results) == 4
        assert all(result == results[0] for result in results)
        assert await office.effects(one) == ["done"]
    for one in raced:
        await _check_race(office, one)
    await asyncio.gather(*(asyncio.to_thread(child.stop) for child in children))


async def _check_race(office: Office, one: Step) -> None:
    action = (await office.exchange.reply(one.action_id)).message
    undo = (await office.exchange.reply(one.undo_id)).message
    assert isinstance(undo, CompensationCompleted)
    if undo.effect == "undone":
        assert isinstance(action, StepCompleted)
        assert await office.effects(one) == ["done", "undone"]
    else:
        assert isinstance(action, StepFailed)
        assert action.error.code == "compensated_already"
        assert await office.effects(one) == []


async def test_lost_connections_to_postgres_lose_nothing(own_office: Office) -> None:
    """When Postgres drops every connection in the middle of the work, each command still has one effect and a reply."""
    office = own_office
    await office.open("inventory")
    child = await office.launched("inventory")
    many = [step("inventory") for _ in range(400)]
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'participant-inventory'"
    for start in range(0, len(many), 100):
        sending = asyncio.gather(*(office.exchange.act(one) for one in many[start : start + 100]))
        await office.rows(cut)
        await sending
    for one in many:
        assert isinstance((await office.exchange.reply(one.action_id)).message, StepCompleted)
    rows = await office.rows("select count(*), sum(2) from inventory.reservations")
    assert tuple(rows[0]) == (len(many), 2 * len(many))
    assert (await office.rows("select reserved from inventory.stock where sku = 'sku-book'"))[0][0] == 2 * len(many)
    await asyncio.to_thread(child.stop)


async def test_participant_waits_for_its_topic(own_office: Office) -> None:
    """A participant that is started before its topic exists says so, and serves as soon as it does."""
    office = own_office
    child = office.launch("shipping")
    await asyncio.to_thread(child.wait_for_line, "waiting_for_topic", timeout_s=30)
    await office.open("shipping")
    await asyncio.to_thread(child.wait_for_line, r"(?m)^ready$", timeout_s=30)
    one = step("shipping")
    await office.exchange.act(one)
    await office.exchange.reply(one.action_id)
    assert await asyncio.to_thread(child.stop) == 0


async def test_stable_name_is_held_by_one(own_office: Office) -> None:
    """A second process under the same stable name ends with a message, and the first works on."""
    office = own_office
    await office.open("notification")
    first = await office.launched("notification", "--instance", "one")
    second = office.launch("notification", "--instance", "one", "--ready-file", os.devnull)
    assert await asyncio.to_thread(second.wait, 30) == 1
    assert "another process runs as instance 'one' of notification" in second.output()
    one = step("notification")
    await office.exchange.act(one)
    await office.exchange.reply(one.action_id)
    await asyncio.to_thread(first.stop)
