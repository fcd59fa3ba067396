"""After a poll that failed: no record is lost, none is delivered that is not ours, and nothing escapes."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from participants.kit import consumer as module
from participants.kit.consumer import Consumer
from participants.kit.inbox import DeadLetter
from participants.kit.salvage import Stretch
from participants.kit.settings import Settings

ONE, TWO = TopicPartition("t", 1), TopicPartition("t", 2)


def letter(tp: TopicPartition, offset: int) -> DeadLetter:
    """Build the letter of an unreadable record."""
    return DeadLetter(tp.topic, tp.partition, offset, "corrupt", "", None, None, "[]")


class Client:
    """An aiokafka consumer whose polls fail, with partition 1 committed at 40 and partition 2 never."""

    def __init__(self) -> None:
        self.sought: dict[TopicPartition, int] = {}
        self.gone: set[TopicPartition] = set()
        self.polls = 0

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset({ONE, TWO})

    async def getmany(self, **_options: Any) -> dict[TopicPartition, list[Any]]:
        self.polls += 1
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    async def committed(self, tp: TopicPartition) -> int | None:
        return {ONE: 40}.get(tp)

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 7)

    async def end_offsets(self, tps: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 100)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        if tp in self.gone:
            raise IllegalStateError(f"No current assignment for partition {tp}")
        self.sought[tp] = offset


class Desk:
    """A consumer over such a client, and what reading by hand is to answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = Client()
        self.asked: list[tuple[TopicPartition, int]] = []
        self.answers: dict[TopicPartition, Any] = {}
        self.consumer = Consumer(Settings(), "payment", self.nothing, self.nothing)
        self.consumer._consumer = self.client
        monkeypatch.setattr(module, "read_by_hand", self.read_by_hand)
        monkeypatch.setattr(module, "POLL_MS", 1)

    async def nothing(self) -> None: ...

    async def read_by_hand(self, _client: Any, tp: TopicPartition, position: int, _max: int) -> Stretch:
        self.asked.append((tp, position))
        answer = self.answers.get(tp, Stretch([], position))
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer()
        assert isinstance(answer, Stretch)
        return answer


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Give a consumer whose client cannot read what comes next."""
    return Desk(monkeypatch)


async def test_all_partitions_are_read_on_from_where_they_were(desk: Desk) -> None:
    """What a failed poll may have thrown away is read again: behind the last poll, the commit, or the beginning."""
    desk.answers[TWO] = Stretch([letter(TWO, 7)], 9)
    polled = await desk.consumer.poll()
    assert set(desk.asked) == {(ONE, 40), (TWO, 7)}
    assert polled.items == [letter(TWO, 7)]
    assert polled.offsets == {TWO: 9}
    assert desk.client.sought == {ONE: 40, TWO: 9}
    desk.asked.clear()
    desk.answers.clear()
    await desk.consumer.poll()
    assert (set(desk.asked), desk.client.polls) == ({(ONE, 40), (TWO, 9)}, 1)
    await desk.consumer.poll()
    assert desk.client.polls == 2


@pytest.mark.parametrize("error", [KafkaError("not now"), OSError("no way"), TimeoutError(), ValueError("what?")])
async def test_a_partition_that_is_not_served_keeps_its_place(desk: Desk, error: Exception) -> None:
    """A partition that cannot be read by hand now is neither moved nor polled past, and the other goes on."""
    desk.answers = {ONE: error, TWO: Stretch([letter(TWO, 7)], 8)}
    for _ in range(3):
        assert (await desk.consumer.poll()).offsets == {TWO: 8}
    assert desk.client.polls == 1
    assert ONE not in desk.client.sought
    assert desk.asked.count((ONE, 40)) == 3


async def test_partitions_that_were_given_away_deliver_nothing(desk: Desk) -> None:
    """What was read by hand while the partitions changed hands is not delivered and moves no position."""

    def give_away() -> Stretch:
        desk.consumer.forget_positions()
        return Stretch([letter(TWO, 7)], 8)

    desk.answers[TWO] = give_away
    polled = await desk.consumer.poll()
    assert (polled.items, polled.offsets, desk.client.sought) == ([], {}, {})


async def test_a_partition_that_is_gone_is_left_out(desk: Desk) -> None:
    """A partition that is not ours any more when its records are there is left to its new owner."""
    desk.answers = {ONE: Stretch([letter(ONE, 40)], 41), TWO: Stretch([letter(TWO, 7)], 8)}
    desk.client.gone.add(ONE)
    assert (await desk.consumer.poll()).offsets == {TWO: 8}


async def test_a_partition_that_stands_still_is_read_by_hand(desk: Desk) -> None:
    """Where there is more to read and nothing has come between two looks, the next poll reads by hand."""
    await desk.consumer.look_around()
    assert not desk.consumer._by_hand
    await desk.consumer.look_around()
    await desk.consumer.poll()
    assert desk.client.polls == 0
    assert set(desk.asked) == {(ONE, 40), (TWO, 7)}
