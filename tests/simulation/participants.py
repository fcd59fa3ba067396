"""Participants that keep their duties (the kit's, word for word) and have every weakness that a duty allows.

Each has one row per action, as the kit keeps it, and a ledger: what was done and undone, when. The ledger is the truth
that the coordinator's account is held against.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from coordinator.wire.inbound import InboundCommand, decode_command
from coordinator.wire.messages import Compensation, StepCompleted, StepError, StepFailed
from participants.kit.duties import FIXED_ANSWERS, Duty, Memory, Result, action_id, duty, remembered, settle
from participants.kit.outcomes import Effect, Refused, Retry
from participants.kit.replies import address
from tests.simulation.broker import Broker, Kept, Unplaced
from tests.simulation.faults import Faults

POLL_S = 0.3
WORK_S = 0.12
DONE = Result("{}")


class Deed(msgspec.Struct, frozen=True):
    """A line of the ledger."""

    what: str
    saga_id: str
    step: str
    action_id: str
    at_s: float


class Participant:
    """One participant: it reads its topic from the beginning, and again from earlier now and then."""

    def __init__(
        self, name: str, topic: str, broker: Broker, faults: Faults, chance: random.Random, now_ms: Callable[[], int]
    ) -> None:
        self.name = name
        self._topic = topic
        self._broker = broker
        self._faults = faults
        self._chance = chance
        self._now_ms = now_ms
        self._reached = {key[1]: 0 for key in broker.logs if key[0] == topic}
        self._memories: dict[str, Memory] = {}
        self.ledger: list[Deed] = []
        self.away_until = 0.0
        self.seen: set[str] = set()

    async def run(self) -> None:
        """Work for ever."""
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() < self.away_until:
                await asyncio.sleep(self.away_until - loop.time())
            worked = False
            for partition in sorted(self._reached):
                worked |= self._work(partition)
            if not worked:
                event = self._broker.arrived[self._topic]
                event.clear()
                try:
                    async with asyncio.timeout(POLL_S):
                        await event.wait()
                except TimeoutError:
                    continue
            await asyncio.sleep(self._chance.uniform(0.002, WORK_S))

    def is_idle(self) -> bool:
        """Whether everything that there is was read."""
        return all(at >= len(self._broker.logs[self._topic, partition]) for partition, at in self._reached.items())

    def _work(self, partition: int) -> bool:
        log = self._broker.logs[self._topic, partition]
        at = min(self._reached[partition], len(log))
        if self._faults.happens("command_again"):
            at = max(0, at - self._chance.randint(1, 5))  # it died before it had committed its offset
        some = log[at : at + 20]
        self._reached[partition] = at + len(some)
        if len(some) > 1 and self._faults.happens("command_overtaken"):
            some = self._chance.sample(some, len(some))  # several hands work at once
        for record in some:
            self._answer(record)
        return bool(some)

    def _answer(self, record: Kept) -> None:
        inbound = decode_command([(name, value or b"") for name, value in record.headers], record.value)
        command = inbound.command
        key = action_id(command)
        memory = self._memories.setdefault(key, Memory(key, command.saga_id))
        what = duty(inbound, memory, self._now_ms())
        self.seen.add(command.command_id)
        if what is Duty.REPEAT:
            reply = remembered(command, memory)
        elif what is not Duty.RUN:
            reply = settle(inbound, memory, FIXED_ANSWERS[what])
        else:
            reply = settle(inbound, memory, self._done(inbound, key))
        lie = None
        if isinstance(reply, StepCompleted) and self._faults.happens("lie"):
            about = (command.saga_id, command.step_name, command.command_id, command.attempt)
            lie = StepFailed(*about, StepError("lie", "it did not work after all", retryable=False))
        self._send(inbound, reply, lie)

    def _done(self, inbound: InboundCommand, key: str) -> Any:
        """Do what a command asks for; answers the outcome."""
        command = inbound.command
        if isinstance(command, Compensation):
            if self._faults.happens("undo_fails"):
                return Retry("not_now", "the undo has failed")
            self._note("undone", command, key)
            return Effect.UNDONE
        if self._faults.happens("refusal"):
            return Refused("refused", "no")
        if self._faults.happens("not_now"):
            return Retry("not_now", "later")
        self._note("done", command, key)
        return DONE

    def _note(self, what: str, command: Any, key: str) -> None:
        now = asyncio.get_running_loop().time()
        self.ledger.append(Deed(what, command.saga_id, command.step_name, key, now))

    def _send(self, inbound: InboundCommand, reply: Any, lie: Any) -> None:
        """Reply: never, late or more than once. A lie comes after the truth, because the first word counts."""
        record = self._record(inbound, reply)
        if self._faults.happens("reply_lost"):
            return
        delay_s = self._chance.uniform(0.001, 0.05)
        if self._faults.happens("reply_late"):
            delay_s = self._chance.uniform(2.0, 12.0)
        elif self._faults.happens("reply_delayed"):
            delay_s = self._chance.uniform(0.3, 2.0)
        loop = asyncio.get_running_loop()
        loop.call_later(delay_s, self._place, [record] if lie is None else [record, self._record(inbound, lie)])
        if self._faults.happens("reply_twice"):
            loop.call_later(delay_s + self._chance.uniform(0.0, 4.0), self._place, [record])

    def _record(self, inbound: InboundCommand, reply: Any) -> Unplaced:
        out = address(self.name, inbound, reply, self._now_ms())
        return Unplaced(out.topic, out.partition, out.key, out.value, tuple(out.headers))

    def _place(self, records: list[Unplaced]) -> None:
        """Have Kafka store replies: while it is away they wait in the participant's outbox."""
        loop = asyncio.get_running_loop()
        if self._broker.is_away:
            loop.call_later(0.2, self._place, records)
        else:
            self._broker.store(records)


class Ledgers:
    """What all participants did, by action."""

    def __init__(self, participants: list[Participant]) -> None:
        self.deeds: defaultdict[str, list[str]] = defaultdict(list)
        self.sagas: defaultdict[str, set[str]] = defaultdict(set)
        for participant in participants:
            for deed in participant.ledger:
                self.deeds[deed.action_id].append(deed.what)
                self.sagas[deed.saga_id].add(deed.action_id)
