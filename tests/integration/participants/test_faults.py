"""Faults on demand: each kind does what its name says, as often as it was asked to."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from coordinator.wire.messages import StepCompleted, StepFailed
from participants.kit.faults import list_faults
from tests.integration.participants.office import Office, step


async def test_silent_does_the_work_and_withholds_the_reply(office: Office) -> None:
    """A silent participant has the effect and remembers it; asked again without the fault, it answers."""
    one = step("payment", order_id="order-silent")
    await office.fault("payment", "silent", match=one.saga_id, times=1)
    await office.exchange.act(one, partition=2)
    behind = step("payment")
    await office.exchange.act(behind, partition=2)
    await office.exchange.reply(behind.action_id)
    assert office.exchange.heard[one.action_id] == []
    assert await office.effects(one) == ["done"]
    await office.exchange.act(one, 2)
    assert isinstance((await office.exchange.reply(one.action_id)).message, StepCompleted)
    assert await office.effects(one) == ["done"]


async def test_drop_ignores_the_command(office: Office) -> None:
    """A dropped command leaves no trace at all."""
    one = step("payment", order_id="order-drop")
    await office.fault("payment", "drop", match="order-drop", times=1)
    await office.exchange.act(one, partition=2)
    behind = step("payment")
    await office.exchange.act(behind, partition=2)
    await office.exchange.reply(behind.action_id)
    assert office.exchange.heard[one.action_id] == []
    assert await office.effects(one) == []
    await office.exchange.act(one, 2)
    assert isinstance((await office.exchange.reply(one.action_id)).message, StepCompleted)


async def test_slow_holds_nobody_up(office: Office) -> None:
    """A slow reply comes late, while commands behind it in the same partition are answered at once."""
    one = step("payment", order_id="order-slow")
    await office.fault("payment", "slow", match="order-slow", seconds=0.7)
    await office.exchange.act(one, partition=2)
    behind = step("payment")
    await office.exchange.act(behind, partition=2)
    prompt = await office.exchange.reply(behind.action_id)
    assert await office.effects(one) == ["done"]
    late = await office.exchange.reply(one.action_id)
    assert late.at - prompt.at > 0.5


async def test_duplicate_repeats_the_reply(office: Office) -> None:
    """A duplicated reply is the same message, several times."""
    one = step("payment", order_id="order-duplicate")
    await office.fault("payment", "duplicate", match="order-duplicate", copies=3)
    await office.exchange.act(one)
    heard = await office.exchange.replies(one.action_id, 3)
    assert len({each.ce_id for each in heard}) == 1
    assert await office.effects(one) == ["done"]


async def test_count_runs_down(office: Office) -> None:
    """A fault that is set for one command hits one command."""
    many = [step("shipping", order_id="order-count") for _ in range(5)]
    await office.fault("shipping", "refuse", command="CreateShipment", match="order-count", code="strike", times=2)
    for one in many:
        await office.exchange.act(one)
    messages = [(await office.exchange.reply(one.action_id)).message for one in many]
    refused = [message.error.code for message in messages if isinstance(message, StepFailed)]
    assert refused == ["strike", "strike"]
    assert [row["remaining"] for row in await office.rows("select remaining from shipping.faults")] == [0]
    await office.mend("shipping")


async def test_faults_can_be_set_from_the_shell(office: Office) -> None:
    """The little command sets, lists and clears faults."""
    assert (await _faults(office, "set", "inventory", "refuse", "--match", "order-shell")).startswith("fault ")
    one = step("inventory", order_id="order-shell")
    await office.exchange.act(one)
    message = (await office.exchange.reply(one.action_id)).message
    assert isinstance(message, StepFailed)
    assert message.error.code == "refused"
    assert '"match":"order-shell"' in await _faults(office, "list", "inventory")
    assert await _faults(office, "clear", "inventory") == "no faults\n"
    assert await list_faults(office.url, "inventory") == []


@pytest.mark.parametrize(
    ("kind", "what"),
    [("slow", {}), ("refuse", {"seconds": 1.0}), ("crash", {"phase": "tomorrow"}), ("sulk", {})],
)
async def test_nonsense_cannot_be_set(office: Office, kind: str, what: dict[str, object]) -> None:
    """A fault that makes no sense is refused by the table itself."""
    with pytest.raises(Exception, match=r"check constraint"):
        await office.fault("notification", kind, **what)


async def _faults(office: Office, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "participants.kit.faults", *arguments),
        env={**os.environ, **office.stack.environment(office.url)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()
