"""Orders with nobody in charge: what is read of them, what is judged wrong, and when there is nothing left to hear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from deploy.demo.definitions import order_choreography
from deploy.demo.judging.sagas import (
    Case,
    Moment,
    expected_records,
    find,
    moment_problems,
    parked_books,
    problems_of,
    saga_problems,
    table_problems,
)
from deploy.demo.listening import audience, heard_finding
from deploy.demo.seen import Seen
from deploy.demo.stories import choreography as told
from deploy.demo.stories.choreography import choreography
from deploy.demo.stories.model import Books
from participants.inventory.handlers import inventory
from participants.notification.handlers import notification
from participants.payment.handlers import payment
from participants.shipping.handlers import shipping

STORIES = {story.name: story for story in choreography.stories(2)}
MISSED = ("DeadlinePassed", "ReplayRequested", "EventReplayed")


def saga(events: Iterable[str], *, times: int = 1, beside: Iterable[str] = (), status: str = "failed") -> Seen:
    """Read what the API would show of a saga of which these events were seen, so often each."""
    seen = tuple(events)
    steps = [
        {
            "outcome": "completed" if step in seen else "skipped",
            "undo": "none",
            "attempts": times if step in seen else 0,
            "undo_attempts": 0,
        }
        for step in told.STEPS
    ]
    log: list[dict[str, Any]] = [
        {"event": "EventObserved", "step_name": event, "data": {"verdict": verdict}}
        for verdict in ("applied", *("duplicate",) * (times - 1))
        for event in seen
    ]
    log += [{"event": word, "step_name": told.RESERVED, "data": {}} for word in beside]
    return told.read_observed(
        {"id": "7b0e", "status": status, "version": len(log), "steps": steps, "log": log, "incidents": []}
    )


def case(name: str, seen: Seen) -> Case:
    """Give a story's first request with what was seen of it, its tables as they must be."""
    request = choreography.request(STORIES[name], 1)
    parking = request.story.expected.parked
    parked = None if parking is None else Moment((parking.reason,), parked_books(choreography, request))
    return Case(request, seen, expected_records(choreography, request), parked=parked)


GOOD = ("OrderCreated", "InventoryReserved", "PaymentProcessed", "ShipmentCreated", "OrderFulfilled")
DECLINED = ("OrderCreated", "InventoryReserved", "PaymentFailed", "InventoryReleased", "OrderFailed")
UNSERVED = (
    *("OrderCreated", "InventoryReserved", "PaymentProcessed", "ShipmentFailed"),
    *("PaymentRefunded", "InventoryReleased", "OrderFailed"),
)
REJECTED = ("OrderCreated", "InventoryRejected", "OrderFailed")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("nobody in charge", saga(GOOD, status="completed")),
        ("shelf empty", saga(REJECTED)),
        ("card refused", saga(DECLINED)),
        ("too far away", saga(UNSERVED)),
        ("refund tried again", saga(UNSERVED)),
        ("said three times", saga(GOOD, times=3, status="completed")),
        ("event missed", saga(GOOD, beside=MISSED, status="completed")),
        ("payment away", saga(GOOD, beside=MISSED[:1], status="completed")),
    ],
)
def test_what_the_participants_say_by_themselves_agrees(name: str, seen: Seen) -> None:
    """The events that must come, in whatever order their topics were read, leave nothing to say."""
    assert problems_of(choreography, case(name, seen)) == []
    assert problems_of(choreography, case(name, replace(seen, timeline=seen.timeline[::-1]))) == []


def test_what_was_refused_and_undone_is_told_by_events() -> None:
    """Topics are read side by side, so undos are put in the order in which they must have happened."""
    seen = saga(reversed(UNSERVED))
    assert seen.undone == (told.PAID, told.RESERVED)
    words = dict(zip(told.STEPS, zip(seen.outcomes, seen.undos, strict=True), strict=True))
    assert words[told.RESERVED] == words[told.PAID] == ("completed", "compensated")
    assert words[told.SHIPPED] == ("failed", "none")
    assert words[told.FULFILLED] == ("skipped", "none")


def test_an_order_that_ends_in_another_way_disagrees() -> None:
    """Goods that were sent although the card was refused are found in the row, in the log and in the status."""
    problems = saga_problems(choreography, case("card refused", saga(GOOD, status="completed")))
    assert "the saga is completed, not failed" in problems
    assert "PaymentProcessed is completed, not failed" in problems
    assert "InventoryReleased is skipped, not completed" in problems
    assert "undone in the order nothing, not InventoryReserved" in problems
    assert f"the log tells of {', '.join(GOOD)}, not of {', '.join(DECLINED)}" in problems


def test_an_event_that_the_log_lacks_is_missed() -> None:
    """The row alone is not believed: each event must be in the log, once."""
    seen = saga(GOOD, status="completed")
    lost = replace(seen, timeline=seen.timeline[:-1])
    [problem] = saga_problems(choreography, case("nobody in charge", lost))
    assert problem.startswith("the log tells of OrderCreated, ")
    twice = replace(seen, timeline=(*seen.timeline, told.PAID))
    assert len(saga_problems(choreography, case("nobody in charge", twice))) == 1


def test_somebody_who_decided_is_noticed() -> None:
    """A deadline that passed, a replay or a command has no place in the log of an order that nobody helped."""
    for word in ("DeadlinePassed", "ReplayRequested", "StepIssued"):
        seen = saga(GOOD, beside=[word], status="completed")
        [problem] = saga_problems(choreography, case("nobody in charge", seen))
        assert word in problem


def test_a_missed_event_must_have_been_noticed_and_replayed() -> None:
    """Without incident or replay the story was another one, and payment must have had nothing before the replay."""
    request = case("event missed", saga(GOOD, beside=MISSED, status="completed"))
    assert moment_problems(choreography, replace(request, parked=None)) == ["the saga was never seen suspended"]
    assert request.parked is not None
    assert request.parked.books.done.keys() == {told.RESERVED}
    paid = Books(request.parked.books.done + Counter({told.PAID: 100}), Counter())
    [problem] = moment_problems(choreography, replace(request, parked=replace(request.parked, books=paid)))
    assert "card 1.00 EUR charged" in problem
    [problem] = saga_problems(choreography, case("event missed", saga(GOOD, beside=MISSED[:1], status="completed")))
    assert problem.endswith("DeadlinePassed, ReplayRequested, EventReplayed")


def test_a_participant_that_comes_back_needs_no_help() -> None:
    """What was waiting for it is heard; a saga that somebody had to help on was another story."""
    good = case("payment away", saga(GOOD, beside=MISSED[:1], status="completed"))
    assert find(choreography, good.request.story, [good]).happened == (
        "suspended, went on by itself, completed; nothing undone"
    )
    assert moment_problems(choreography, replace(good, parked=None)) == ["the saga was never seen suspended"]
    [problem] = saga_problems(choreography, case("payment away", saga(GOOD, beside=MISSED, status="completed")))
    assert problem.endswith("OrderFulfilled, DeadlinePassed")


def test_an_event_that_was_said_again_must_have_been_seen_again_and_done_once() -> None:
    """Copies that never arrived would prove nothing, and a second payment is found in the tables."""
    problems = saga_problems(choreography, case("said three times", saga(GOOD, status="completed")))
    assert problems == [f"{event} was asked for 1 times, at least 3 were expected" for event in GOOD]
    good = case("said three times", saga(GOOD, times=3, status="completed"))
    books = Books(good.records.books.done + Counter({told.PAID: 1}), Counter())
    twice = replace(good.records, books=books, done=(*good.records.done, told.PAID))
    assert len(table_problems(choreography, replace(good, records=twice))) == 2


def test_the_audience_is_who_reacts() -> None:
    """A participant is waited for on the topics of those to whose events it reacts, the coordinator on all of them."""
    groups = audience(order_choreography, "saga.")
    for participant in (inventory, payment, shipping, notification):
        assert groups[f"saga.{participant.name}"] == {f"saga.{source}.events" for source in participant.sources}
    watched = {topic for group, topics in groups.items() if ".coordinator." in group for topic in topics}
    assert watched == {f"saga.{topic}" for topic in choreography.topics}


def test_what_somebody_has_not_read_is_not_over() -> None:
    """A partition of which a group has committed nothing counts from its beginning; one that it does not read never."""
    shop, empty, other = (TopicPartition("saga.shop.events", part) for part in range(3))
    ends = {shop: 4, empty: 0, other: 7}
    everybody = {"saga.inventory": {shop: 4, empty: -1}, "saga.coordinator": {shop: 4, empty: -1, other: 7}}
    assert heard_finding(everybody, ends) == ("11 events were said: everybody has heard them", True)
    for offset, left in ((-1, 4), (3, 1)):
        deaf = everybody | {"saga.inventory": {shop: offset, empty: -1}}
        assert heard_finding(deaf, ends) == (f"11 events were said: saga.inventory has {left} left to read", False)


async def test_an_order_is_published_as_a_shop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is the event's data, its key decides the partition, and copies have one id."""
    sent: list[tuple[str, bytes, bytes, dict[str, bytes]]] = []

    class Producer:
        """Takes down what is sent."""

        def __init__(self, **_: object) -> None: ...

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def send_and_wait(
            self, topic: str, value: bytes, *, key: bytes, headers: list[tuple[str, bytes]]
        ) -> None:
            """Take a record down."""
            sent.append((topic, value, key, dict(headers)))

    monkeypatch.setattr(told, "AIOKafkaProducer", Producer)
    stage: Any = SimpleNamespace(topic_prefix="saga.", bootstrap_servers="127.0.0.1:9092")
    await told.publish_orders(stage, "OrderChoreography", [{"order_id": "a-1"}, {"order_id": "a-1"}])
    assert [(topic, value, key) for topic, value, key, _ in sent] == [
        ("saga.shop.events", b'{"order_id":"a-1"}', b"a-1")
    ] * 2
    assert [headers["ce_id"] for *_, headers in sent] == [b"a-1:OrderCreated"] * 2
    assert {headers["ce_type"] for *_, headers in sent} == {b"OrderCreated"}
    assert {headers["ce_source"] for *_, headers in sent} == {b"shop"}
