"""A participant as it ships, with a hand that kills it.

SAGA_CRASH_AT=P5:1 python -m tests.crash.participant payment
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from coordinator.wire.messages import Compensation
from participants.kit import runner, work
from participants.kit.consumer import Consumer
from participants.kit.publisher import Publisher
from participants.kit.work import Worker
from tests.crash.hook import USAGE, Hook, Mark, around, hasten
from tests.crash.points import NoSuchPoint
from tests.crash.wire import Marks, Statement, produced, stores_offsets, watch_kafka, watch_postgres, watched

REPLIES: Final = ".replies"
UNDOING: Final = b"SagaCompensation"

_BACKWARD: Final[ContextVar[bool | None]] = ContextVar("backward", default=None)
"""Whether the batch in hand undoes something; None where there is none, or it holds no command."""


class ParticipantPoints:
    """Wraps what lies around the points; the program behaves as ever until it is killed."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._untold: bool | None = None  # whether what is published, and its offset not yet told, undid something

    def install(self) -> None:
        """Wrap."""
        around(Worker, "work", self._worked)
        around(Worker, "_do", self._begun)
        around(work, "claim", self._taken)
        around(work, "store", self._stored)
        around(Publisher, "publish", self._published)
        around(Consumer, "commit", self._told)

    def marks_of(self, request: Any) -> Marks:
        """Say which points a request to Kafka is."""
        if stores_offsets(request):
            return [] if self._untold is None else [Mark("P7", self._untold)]
        replies = [batch for topic, batch in produced(request) if topic.endswith(REPLIES)]
        return [Mark("P6", any(UNDOING in batch for batch in replies))] if replies else []

    def _passes(self, point: str) -> None:
        backward = _BACKWARD.get()
        if backward is not None:
            self._hook.passes(point, backward=backward)

    def _worked(self, do: Any) -> Any:
        async def worked(worker: Any, batch: Any) -> Any:
            before = _BACKWARD.set(_undoes(batch.commands))
            backward = _BACKWARD.get()
            sent, answered = ([] if backward is None else [Mark(point, backward)] for point in ("P5", "P5a"))
            try:
                with watched(Statement(sent=sent, answered=answered, commit=True)):
                    return await do(worker, batch)
            finally:
                _BACKWARD.reset(before)

        return worked

    def _begun(self, do: Any) -> Any:
        async def begun(*arguments: Any) -> Any:
            self._passes("P1")
            return await do(*arguments)

        return begun

    def _taken(self, claim: Any) -> Any:
        async def taken(*arguments: Any) -> Any:
            mine = await claim(*arguments)
            self._passes("P2")
            return mine

        return taken

    def _stored(self, store: Any) -> Any:
        async def stored(*arguments: Any) -> Any:
            self._passes("P3")
            await store(*arguments)
            self._passes("P4")

        return stored

    def _published(self, publish: Any) -> Any:
        async def published(publisher: Any, replies: Sequence[Any]) -> Any:
            acknowledged = await publish(publisher, replies)
            if acknowledged:
                backward = any(UNDOING in value for reply in replies for _, value in reply.headers)
                self._hook.passes("P6a", backward=backward)
                self._untold = backward or bool(self._untold)
            return acknowledged

        return published

    def _told(self, commit: Any) -> Any:
        async def told(consumer: Any, offsets: Any) -> Any:
            stored = await commit(consumer, offsets)
            if stored and self._untold is not None:
                self._hook.passes("P7a", backward=self._untold)
                self._untold = None
            return stored

        return told


def main() -> None:
    """Arm, wrap, and run the participant that is named first."""
    name, *rest = sys.argv[1:]
    try:
        hook = Hook.of_environment(os.environ)
    except NoSuchPoint as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(USAGE)
    points = ParticipantPoints(hook)
    points.install()
    hasten(runner, "TIDY_SECONDS")
    hasten(runner, "COMMIT_SECONDS")
    watch_postgres(hook)
    watch_kafka(hook, points.marks_of)
    participant = getattr(importlib.import_module(f"participants.{name}.handlers"), name)
    runner.main(participant, rest)


def _undoes(commands: Iterable[Any]) -> bool | None:
    kinds = {isinstance(inbound.command, Compensation) for inbound in commands}
    return any(kinds) if kinds else None


if __name__ == "__main__":
    main()
