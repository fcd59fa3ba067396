"""The points of the engine: replies, timers, commands on their way to Kafka, bad records, and its start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal

from coordinator.engine import worker as worker_module
from coordinator.engine.deciding import Decider
from coordinator.engine.ownership import Ownership
from coordinator.engine.reading import BadArrival, ReplyArrival
from coordinator.engine.relay import Relay
from coordinator.engine.sweeper import Sweeper
from coordinator.engine.timers import Timers
from coordinator.engine.worker import BatchWorker
from coordinator.kafka.publisher import Publisher
from coordinator.kafka.records import Outgoing, Skipped
from coordinator.kafka.subscriber import Subscriber
from coordinator.saga.events import BackoffElapsed, DeadlinePassed
from coordinator.saga.model import SagaStatus
from coordinator.services.versions import Versions
from coordinator.store.batch import Token
from coordinator.store.postgres import PostgresStore
from coordinator.wire.messages import CompensationCompleted, CompensationFailed, StepCompleted, StepFailed
from tests.crash.hook import Hook, Mark, around
from tests.crash.wire import Marks, Statement, produced, stores_offsets, watched

COMPENSATION: Final = b'"direction":"compensation"'
COMMANDS, DEAD_LETTERS = ".commands", ".dlq"

_BACKWARD: Final = (StepFailed, CompensationCompleted, CompensationFailed)
_REPLIES: Final = frozenset(kind.ce_type.encode() for kind in (StepCompleted, *_BACKWARD))
_UNDOING: Final = frozenset(kind.ce_type.encode() for kind in _BACKWARD)
_TIMERS: Final = frozenset({DeadlinePassed.__name__, BackoffElapsed.__name__})
_MOMENT_S: Final = 0.001


@dataclass
class Work:
    """What a batch is about: replies, some of them of sagas that turn or have turned back; records that are bad."""

    replies: bool = False
    backward: bool = False
    bad: bool = False


_WORK: Final[ContextVar[Work | Literal["timers"] | None]] = ContextVar("work", default=None)


def work_of(arrivals: Sequence[Any]) -> Work:
    """Say what arrivals are about."""
    messages = [arrival.message for arrival in arrivals if isinstance(arrival, ReplyArrival)]
    bad = any(isinstance(arrival, BadArrival) for arrival in arrivals)
    return Work(bool(messages), any(isinstance(message, _BACKWARD) for message in messages), bad)


class EnginePoints:
    """Wraps what lies around the points; the program behaves as ever until it is killed."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._untold = Work()  # what is committed, and its offset not yet told to Kafka
        self._undoing: set[Token] = set()

    def install(self) -> None:
        """Wrap."""
        around(BatchWorker, "handle", self._polled)
        around(worker_module, "read", self._decoded)
        around(Decider, "decide", self._decided)
        around(BatchWorker, "_commit", self._of_arrivals)
        around(BatchWorker, "_fire_group", self._of_timers)
        around(BatchWorker, "_write", self._written)
        around(Subscriber, "commit", self._told)
        around(Timers, "due", self._due)
        around(Publisher, "publish", self._handed_over)
        around(Publisher, "_queue", self._between)
        around(Publisher, "_answer", self._answered)
        around(Relay, "_heard", self._remembered)
        around(PostgresStore, "acknowledge", self._deleted)
        around(PostgresStore, "fetch", self._marked)
        around(Versions, "register", self._after("S0"))
        around(PostgresStore, "claim", self._claimed)
        around(Sweeper, "sweep_all", self._after("S3"))
        around(Ownership, "_take", self._after("S4"))

    def marks_of(self, request: Any) -> Marks:
        """Say which points a request to Kafka is."""
        if stores_offsets(request):
            return [Mark(point, untold) for point, _, untold in self._tellings()]
        batches = list(produced(request))
        commands = [batch for topic, batch in batches if topic.endswith(COMMANDS)]
        marks = [Mark("O1", any(COMPENSATION in batch for batch in commands))] if commands else []
        return marks + [Mark("Q4") for topic, _ in batches if topic.endswith(DEAD_LETTERS)][:1]

    def _tellings(self) -> list[tuple[str, str | None, bool]]:
        """What an offset would tell now: the points of its being sent and stored, and whether it is of undoing."""
        found: list[tuple[str, str | None, bool]] = []
        if self._untold.replies:
            found.append(("R11", "R12", self._untold.backward))
        if self._untold.bad:
            found.append(("Q3", None, True))
        return found

    # ------------------------------------------------------------ replies, and records that are bad

    def _polled(self, handle: Any) -> Any:
        async def handled(worker: Any, polled: list[Any]) -> Any:
            records = [record for item in polled if not isinstance(item, Skipped) for record in item[1]]
            kinds = {value for record in records for name, value in record.headers if name == "ce_type"}
            if kinds & _REPLIES:
                self._hook.passes("R0", backward=bool(kinds & _UNDOING))
            return await handle(worker, polled)

        return handled

    def _decoded(self, read: Any) -> Any:
        def decoded(*arguments: Any) -> Any:
            arrivals = read(*arguments)
            work = work_of(arrivals)
            if work.replies:
                self._hook.passes("R1", backward=work.backward)
            return arrivals

        return decoded

    def _decided(self, decide: Any) -> Any:
        async def decided(decider: Any, arrivals: Sequence[Any]) -> Any:
            found = await decide(decider, arrivals)
            work = work_of(arrivals)
            if work.replies:
                self._hook.passes("R5", backward=work.backward)
            if work.bad:
                self._hook.passes("Q0")
            return found

        return decided

    def _of_arrivals(self, commit: Any) -> Any:
        async def committed(worker: Any, arrivals: Sequence[Any], decided: Any) -> Any:
            _WORK.set(work_of(arrivals))
            return await commit(worker, arrivals, decided)

        return committed

    def _of_timers(self, fire_group: Any) -> Any:
        async def fired(*arguments: Any, **options: Any) -> Any:
            before = _WORK.set("timers")
            try:
                return await fire_group(*arguments, **options)
            finally:
                _WORK.reset(before)

        return fired

    def _written(self, write: Any) -> Any:
        async def written(worker: Any, draft: Any, tokens: Any) -> Any:
            work = _WORK.get()
            if isinstance(work, Work):
                with watched(_statement_of(work)):
                    committed = await write(worker, draft, tokens)
                self._owe(work)
                return committed
            moved = [one for one in draft.transitions if one.event in _TIMERS]
            if work is None or not moved:
                return await write(worker, draft, tokens)
            backward = any(one.saga.status == SagaStatus.COMPENSATING for one in moved)
            self._hook.passes("T2", backward=backward)
            half, sent, answered = ([Mark(point, backward)] for point in ("T3", "T4", "T5"))
            with watched(Statement(half, sent, answered)):
                return await write(worker, draft, tokens)

        return written

    def _owe(self, work: Work) -> None:
        untold = self._untold
        untold.replies, untold.bad = untold.replies or work.replies, untold.bad or work.bad
        untold.backward = untold.backward or work.backward

    def _told(self, commit: Any) -> Any:
        async def told(inbox: Any, *arguments: Any, **options: Any) -> Any:
            stored = await commit(inbox, *arguments, **options)
            if stored:
                for _, point, backward in self._tellings():
                    if point is not None:
                        self._hook.passes(point, backward=backward)
                self._untold = Work()
            return stored

        return told

    # ------------------------------------------------------------ timers

    def _due(self, due: Any) -> Any:
        def found(timers: Any, owned: Any) -> Any:
            ready = due(timers, owned)
            if ready:
                statuses = {active.saga.status for active in ready}
                self._hook.passes("T0", backward=SagaStatus.COMPENSATING in statuses)
            return ready

        return found

    # ------------------------------------------------------------ commands

    def _handed_over(self, publish: Any) -> Any:
        async def handed_over(bus: Any, messages: Sequence[Outgoing]) -> Any:
            commands = _commands(messages)
            undoing = [message.token for message in commands if COMPENSATION in message.value]
            self._undoing.update(token for token in undoing if isinstance(token, Token))
            if commands:
                self._hook.passes("O0", backward=bool(undoing))
            return await publish(bus, messages)

        return handed_over

    def _between(self, queue: Any) -> Any:
        async def queued(bus: Any, batch: Any, flight: Any, deadline_s: float) -> Any:
            before = [one for one in flight.batches if _commands(one.messages)]
            commands = _commands(batch.messages)
            if before and commands and self._hook.is_here(Mark("O1a", _undo(commands))):
                while not before[0].stored and before[0].error is None:  # noqa: ASYNC110 - Kafka will answer
                    await asyncio.sleep(_MOMENT_S)
                self._hook.die()
            return await queue(bus, batch, flight, deadline_s)

        return queued

    def _answered(self, answer: Any) -> Any:
        def answered(bus: Any, future: Any, batch: Any, *arguments: Any) -> Any:
            commands = _commands(batch.messages)
            if commands and not future.cancelled() and future.exception() is None:
                self._hook.passes("O2", backward=_undo(commands))
            return answer(bus, future, batch, *arguments)

        return answered

    def _remembered(self, heard: Any) -> Any:
        def remembered(relay: Any, numbers: Any, result: Any) -> Any:
            heard(relay, numbers, result)
            tokens = [token for token in result.acknowledged if isinstance(token, Token)]
            if tokens:
                self._hook.passes("O3", backward=not self._undoing.isdisjoint(tokens))

        return remembered

    def _deleted(self, acknowledge: Any) -> Any:
        async def deleted(store: Any, tokens: Sequence[Token]) -> Any:
            backward = not self._undoing.isdisjoint(tokens)
            with watched(Statement(sent=[Mark("O4", backward)], answered=[Mark("O5", backward)])):
                return await acknowledge(store, tokens)

        return deleted

    # ------------------------------------------------------------ letters, and the start

    def _marked(self, fetch: Any) -> Any:
        async def fetched(store: Any, name: str, *arguments: Any) -> Any:
            if name == "mark_dead_letters":
                self._hook.passes("Q5")
            return await fetch(store, name, *arguments)

        return fetched

    def _claimed(self, claim: Any) -> Any:
        async def claimed(*arguments: Any) -> Any:
            with watched(Statement(sent=[Mark("S1")], answered=[Mark("S2")])):
                return await claim(*arguments)

        return claimed

    def _after(self, point: str) -> Any:
        def make(action: Any) -> Any:
            async def done(*arguments: Any) -> Any:
                answer = await action(*arguments)
                self._hook.passes(point)
                return answer

            return done

        return make


def _statement_of(work: Work) -> Statement:
    half, sent, answered = (
        [Mark(reply, work.backward)] * work.replies + [Mark(bad)] * work.bad
        for reply, bad in (("R8", "Q1"), ("R9", "Q2"), ("R10", "Q2a"))
    )
    return Statement(half, sent, answered)


def _commands(messages: Iterable[Outgoing]) -> list[Outgoing]:
    return [message for message in messages if message.topic.endswith(COMMANDS)]


def _undo(commands: Iterable[Outgoing]) -> bool:
    return any(COMPENSATION in command.value for command in commands)
