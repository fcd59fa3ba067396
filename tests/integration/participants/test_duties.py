"""The duties of a participant, one promise each, kept by the sample `payment` over Kafka."""

from __future__ import annotations

import pytest

from coordinator.wire.messages import (
    CompensationCompleted,
    CompensationFailed,
    StepCompleted,
    StepError,
    StepFailed,
)
from tests.integration.participants.exchange import TRACE, now_ms
from tests.integration.participants.office import Office, step


async def test_reply_goes_where_the_command_says(office: Office) -> None:
    """A reply echoes its command, names its participant, keeps the trace and goes to the named partition."""
    one = step("payment")
    await office.exchange.act(one, attempt=3, reply_partition=2)
    heard = await office.exchange.reply(one.action_id)
    message = heard.message
    assert isinstance(message, StepCompleted)
    assert (message.saga_id, message.step_name, message.attempt) == (one.saga_id, "step", 3)
    assert message.result["amount_cents"] == 4_200
    assert (heard.partition, heard.key, heard.source) == (2, one.saga_id.encode(), "payment")
    assert (heard.ce_id, heard.traceparent) == (f"{one.action_id}#reply", TRACE)


async def test_repeated_command_has_one_effect(office: Office) -> None:
    """A command that comes again gets the remembered reply again, and nothing is charged a second time."""
    one = step("payment")
    for attempt in (1, 1, 2):
        await office.exchange.act(one, attempt)
    heard = await office.exchange.replies(one.action_id, 3)
    results = [each.message.result for each in heard if isinstance(each.message, StepCompleted)]
    assert results[0] == results[1] == results[2]
    assert {each.ce_id for each in heard} == {f"{one.action_id}#reply"}
    assert await office.effects(one) == ["done"]


async def test_refusal_is_remembered(office: Office) -> None:
    """A refused action stays refused when it comes again, even if it could succeed by then."""
    await office.rows("insert into payment.cards values ('tok_once_blocked', 'blocked', 10000)")
    one = step("payment", card={"token": "tok_once_blocked"})
    await office.exchange.act(one)
    first = (await office.exchange.reply(one.action_id)).message
    assert isinstance(first, StepFailed)
    assert (first.error.code, first.error.retryable) == ("card_declined", False)
    await office.rows("update payment.cards set status = 'active' where token = 'tok_once_blocked'")
    await office.exchange.act(one, 2)
    second = (await office.exchange.reply(one.action_id, 2)).message
    assert isinstance(second, StepFailed)
    assert second.error == first.error
    assert await office.effects(one) == []


async def test_undo_of_a_refused_action_finds_nothing(office: Office) -> None:
    """The compensation of an action that was refused answers nothing_to_undo."""
    one = step("payment", card={"token": "tok_declined"})
    await office.exchange.act(one)
    await office.exchange.reply(one.action_id)
    await office.exchange.undo(one)
    assert (await _undo(office, one.undo_id)).effect == "nothing_to_undo"


async def test_undo_before_its_action_leaves_a_tombstone(office: Office) -> None:
    """An undo that overtakes its action finds nothing, and the late action is refused for good."""
    one = step("payment")
    await office.exchange.undo(one)
    assert (await _undo(office, one.undo_id)).effect == "nothing_to_undo"
    for nth in (1, 2):
        await office.exchange.act(one, nth)
        late = (await office.exchange.reply(one.action_id, nth)).message
        assert isinstance(late, StepFailed)
        assert (late.error.code, late.error.retryable) == ("compensated_already", False)
    await office.exchange.undo(one, 2)
    assert (await _undo(office, one.undo_id, 2)).effect == "nothing_to_undo"
    assert await office.effects(one) == []


async def test_action_and_undo_in_one_batch_keep_their_order(office: Office) -> None:
    """An action and its undo that arrive together are both done, in the order in which they came."""
    many = [step("payment") for _ in range(20)]
    for one in many:
        await office.exchange.act(one)
        await office.exchange.undo(one)
    for one in many:
        assert (await _undo(office, one.undo_id)).effect == "undone"
        assert await office.effects(one) == ["done", "undone"]


async def test_expired_action_is_refused_and_remembered(office: Office) -> None:
    """An action past its not_after has no effect, and a copy with more time changes nothing about that."""
    one = step("payment")
    await office.exchange.act(one, not_after_ms=now_ms() - 1_000)
    await office.exchange.act(one, 2)
    for heard in await office.exchange.replies(one.action_id, 2):
        assert isinstance(heard.message, StepFailed)
        assert (heard.message.error.code, heard.message.error.retryable) == ("expired", False)
    assert await office.effects(one) == []


async def test_late_copy_of_a_done_action_is_answered_not_refused(office: Office) -> None:
    """An action that was done before its not_after is answered as done ever after."""
    one = step("payment")
    await office.exchange.act(one)
    await office.exchange.reply(one.action_id)
    await office.exchange.act(one, 2, not_after_ms=now_ms() - 1_000)
    assert isinstance((await office.exchange.reply(one.action_id, 2)).message, StepCompleted)


async def test_undo_is_done_once(office: Office) -> None:
    """A compensation that comes again is answered again, and the money goes back once."""
    await office.rows("insert into payment.cards values ('tok_undo', 'active', 10000)")
    one = step("payment", card={"token": "tok_undo"})
    await office.exchange.act(one)
    done = (await office.exchange.reply(one.action_id)).message
    assert isinstance(done, StepCompleted)
    for attempt in (1, 2):
        await office.exchange.undo(one, attempt, result=done.result)
        assert (await _undo(office, one.undo_id, attempt)).effect == "undone"
    assert await office.effects(one) == ["done", "undone"]
    assert (await office.rows("select spent_cents from payment.cards where token = 'tok_undo'"))[0][0] == 0


async def test_undo_needs_no_known_outcome(office: Office) -> None:
    """The coordinator need not know that an action was done for its compensation to undo it."""
    one = step("payment")
    await office.exchange.act(one)
    await office.exchange.reply(one.action_id)
    await office.exchange.undo(one, result=None)
    assert (await _undo(office, one.undo_id)).effect == "undone"
    assert await office.effects(one) == ["done", "undone"]


async def test_undo_outlives_the_memory(office: Office) -> None:
    """What the coordinator knows to be done is undone from the data, even when the command is forgotten."""
    one = step("payment")
    await office.exchange.act(one)
    done = (await office.exchange.reply(one.action_id)).message
    assert isinstance(done, StepCompleted)
    await office.rows("delete from payment.kit_command where command_id = $1", one.action_id)
    await office.exchange.undo(one, result=done.result)
    assert (await _undo(office, one.undo_id)).effect == "undone"


async def test_retryable_failure_is_not_remembered(office: Office) -> None:
    """A failure that may pass leaves nothing behind: the next attempt of the same command succeeds."""
    one = step("payment", order_id="order-retry")
    await office.fault("payment", "retry", match="order-retry", code="bank_closed", times=1)
    await office.exchange.act(one, 1)
    first = await office.exchange.reply(one.action_id)
    assert isinstance(first.message, StepFailed)
    assert first.message.error == StepError("bank_closed", "a fault on demand", retryable=True)
    assert first.ce_id == f"{one.action_id}#1"
    assert await office.rows("select from payment.kit_command where command_id = $1", one.action_id) == []
    await office.exchange.act(one, 2)
    assert isinstance((await office.exchange.reply(one.action_id, 2)).message, StepCompleted)


async def test_failed_undo_is_not_remembered(office: Office) -> None:
    """A compensation that fails twice succeeds at its third attempt."""
    one = step("payment", order_id="order-fail-undo")
    await office.fault("payment", "fail_undo", match="order-fail-undo", code="bank_closed", times=2)
    await office.exchange.act(one)
    await office.exchange.reply(one.action_id)
    for attempt in (1, 2, 3):
        await office.exchange.undo(one, attempt)
        heard = await office.exchange.reply(one.undo_id, attempt)
        assert isinstance(heard.message, CompensationFailed if attempt < 3 else CompensationCompleted)
        assert heard.ce_id == f"{one.undo_id}#{attempt if attempt < 3 else 'reply'}"
    assert await office.effects(one) == ["done", "undone"]


async def test_unknown_command_may_be_known_later(office: Office) -> None:
    """A command that no handler knows fails retryably: a newer version of the participant may know it."""
    one = step("payment")
    value, headers = one.act(), [("ce_type", b"PayInShells"), *_headers(office)]
    await office.exchange.raw("payment", value, headers)
    message = (await office.exchange.reply(one.action_id)).message
    assert isinstance(message, StepFailed)
    assert (message.error.code, message.error.retryable) == ("command_unknown", True)


@pytest.mark.parametrize(
    ("reason", "value"),
    [
        ("empty", None),
        ("not_json", b"\x00\x01garbage"),
        ("not_object", b"[]"),
        ("schema", b'{"saga_id": 5}'),
        ("duplicate_key", b'{"a":1,"a":2}'),
    ],
)
async def test_bad_record_is_kept_and_blocks_nothing(office: Office, reason: str, value: bytes | None) -> None:
    """What is no command is kept raw with a reason, and the command behind it is done."""
    headers = [("ce_type", b"ProcessPayment"), *_headers(office)]
    metadata = await office.exchange.raw("payment", value, headers, partition=1)
    one = step("payment")
    await office.exchange.raw("payment", one.act(), headers, partition=1)
    await office.exchange.reply(one.action_id)
    query = "select reason, value, topic from payment.kit_dead_letter where part = 1 and record_offset = $1"
    assert [tuple(row) for row in await office.rows(query, metadata)] == [
        (reason, value, f"{office.prefix}payment.commands")
    ]


def _headers(office: Office) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"id"),
        ("ce_source", b"saga-coordinator"),
        ("reply-topic", office.exchange.replies_topic.encode()),
        ("reply-partition", b"0"),
    ]


async def _undo(office: Office, command_id: str, nth: int = 1) -> CompensationCompleted:
    message = (await office.exchange.reply(command_id, nth)).message
    assert isinstance(message, CompensationCompleted)
    return message
