"""What a batch has heard: the replies among the records that it consumes, each of which explains one entry of a log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from coordinator.store.batch import Fence
from tests.simulation.broker import Kept

EVENTS = {
    b"SagaStepCompleted": "StepCompleted",
    b"SagaStepFailed": "StepFailed",
    b"SagaStepProgress": "StepProgressed",
    b"SagaCompensationCompleted": "CompensationCompleted",
    b"SagaCompensationFailed": "CompensationFailed",
}


class Reply(msgspec.Struct):
    """What a reply says that it is about."""

    saga_id: str
    step_name: str
    command_id: str
    attempt: int


_REPLY = msgspec.json.Decoder(Reply)


class Records:
    """The reply topic as it ever was: where the end of a log was lost, an offset has been given to several records."""

    def __init__(self) -> None:
        self._kept: defaultdict[tuple[int, int], list[Kept]] = defaultdict(list)

    def add(self, record: Kept) -> None:
        """Kafka has a record."""
        self._kept[record.partition, record.offset].append(record)

    def replies(self, fence: Fence) -> Iterator[tuple[str, str, Reply]]:
        """The replies that a fence reaches over: the event that each is, who says so, and what it says."""
        for offset in range(fence.from_offset, fence.next_offset):
            for record in self._kept.get((fence.part, offset), ()):
                found = reply_of(record)
                if found is not None:
                    yield found


def reply_of(record: Kept) -> tuple[str, str, Reply] | None:
    """The event that a record is, who says so, and what it says; None where it is no reply that can be read."""
    headers = dict(record.headers)
    event = EVENTS.get(headers.get("ce_type") or b"")
    if event is None:
        return None
    try:
        return event, (headers.get("ce_source") or b"").decode(), _REPLY.decode(record.value or b"")
    except msgspec.MsgspecError:
        return None


class Heard:
    """The replies of one batch that have not explained anything yet."""

    def __init__(self, records: Records, fences: Iterable[Fence]) -> None:
        self._left: defaultdict[tuple[str, str, str, int, str], list[str]] = defaultdict(list)
        for fence in fences:
            for event, source, reply in records.replies(fence):
                self._left[event, reply.saga_id, reply.step_name, reply.attempt, source].append(reply.command_id)

    def take(self, event: str, saga_id: str, step: str, attempt: int, source: str, command_ids: Iterable[str]) -> str:
        """The command, one of those named, that was answered so; an empty text where none was."""
        left = self._left[event, saga_id, step, attempt, source]
        found = next((command_id for command_id in left if command_id in command_ids), "")
        if found:
            left.remove(found)
        return found
