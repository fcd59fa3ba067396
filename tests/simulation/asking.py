"""Those who want something of the coordinators: services that start sagas, operators, and writers of rubbish."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random

import msgspec

from coordinator.errors import SagaError, Unavailable
from coordinator.saga.events import (
    AbandonRequested,
    CompensateRequested,
    ExternalCompleted,
    ExternalFailed,
    Failure,
    Resolution,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SkipRequested,
    SuspendRequested,
    Verb,
)
from coordinator.saga.model import load_state
from coordinator.services.sagas import StartRequest
from coordinator.wire.cloudevents import message_headers
from coordinator.wire.messages import CompensationCompleted, StartRequested, StepCompleted, Touched
from coordinator.wire.strict_json import encode
from tests.simulation.broker import Unplaced
from tests.simulation.database import Row
from tests.simulation.definitions import PARTICIPANTS
from tests.simulation.world import Coordinator, World

LOOK_S = 0.5
JUNK: tuple[bytes | None, ...] = (b"", b"{", b"\xff\x00", b'{"a":1}', None, b"[]", b'{"saga_id":"x","step_name":"y"}')


class Asking:
    """Starts the sagas of a run within its first seconds, over Kafka and through the API, and disturbs them."""

    def __init__(self, world: World, within_s: float) -> None:
        self._world = world
        self._chance = random.Random(f"{world.seed}/asking")
        self._apart = random.Random(f"{world.seed}/apart")  # what this decides changes nothing else of a run
        self._within_s = within_s
        self.acknowledged: list[str] = []
        self.acts = 0
        self.seen: dict[str, int] = {}  # the version that an operator looked at, by the reason given

    def begin(self) -> None:
        """Plan every start."""
        loop = asyncio.get_running_loop()
        for number in range(self._world.size.sagas):
            again = self._world.faults.happens("start_twice")
            for _ in range(2 if again else 1):
                loop.call_later(self._chance.uniform(0, self._within_s), self._start, number)
        for _ in range(self._world.size.sagas):
            if self._world.faults.happens("junk"):
                loop.call_later(self._chance.uniform(0, self._within_s * 2), self._litter, self._junk())

    async def operate(self) -> None:
        """Press buttons, some of them twice, until everything works."""
        while not self._world.faults.healed:
            await asyncio.sleep(self._chance.uniform(0, LOOK_S))
            ids = [row.id for row in self._commanded()]
            if ids and self._world.faults.happens("verb"):
                self._press(self._chance.choice(ids))

    async def answer(self) -> None:
        """Answer what sagas ask the world outside, mostly with yes, now and then twice, and sometimes too late."""
        outside = {
            number: [(place, step.name) for place, step in enumerate(one.steps) if step.external]
            for number, one in self._world.by_id.items()
        }
        while any(outside.values()):
            await asyncio.sleep(self._chance.uniform(0.2, 2 * LOOK_S))
            for row in self._commanded():
                if row.status not in ("started", "pending") or not outside[row.definition_id]:
                    continue
                steps = load_state(row.state).steps
                for place, name in outside[row.definition_id]:
                    coordinator = self._somebody()
                    if steps[place].outcome == "issued" and coordinator is not None and self._chance.random() < 0.7:
                        self._world.spawn(self._say(coordinator, row.id, name), coordinator.life)

    async def _say(self, coordinator: Coordinator, saga_id: str, step: str) -> None:
        who = f"{self._chance.randrange(10**9)}"
        answer: ExternalCompleted | ExternalFailed = ExternalCompleted(step, who, msgspec.Raw(b"{}"))
        if self._world.faults.happens("refusal"):
            answer = ExternalFailed(step, who, Failure("no", who))
        with contextlib.suppress(SagaError):
            await coordinator.service.answer(saga_id, answer, "outside")

    def release(self) -> None:
        """Let go on whatever hangs, as a person would at the end of a bad night."""
        for row in self._commanded():
            if row.status == "suspended" and self._chance.random() < 0.7:
                self._press(row.id, RetryRequested("ann", f"at last {row.id}"))

    def _commanded(self) -> list[Row]:
        """The sagas that are ours to steer."""
        return [row for row in self._world.database.sagas.values() if row.part >= 0]

    def _press(self, saga_id: str, verb: Verb | None = None) -> None:
        row = self._world.database.sagas[saga_id]
        chosen = verb or self._verb(saga_id)
        self.seen[chosen.reason] = row.version
        for _ in range(2 if self._world.faults.happens("verb_twice") else 1):
            coordinator = self._somebody()
            if coordinator is not None:
                self.acts += 1
                work = self._act(coordinator, saga_id, row.version, chosen)
                self._world.spawn(work, coordinator.life)

    def _verb(self, saga_id: str) -> Verb:
        definition = self._world.by_id[self._world.database.sagas[saga_id].definition_id]
        step = self._chance.choice(definition.steps).name
        who = ("ann", f"{self._chance.randrange(10**6)}")
        verbs: tuple[Verb, ...] = (
            RetryRequested(*who),
            RetryRequested(*who),
            ResumeRequested(*who),
            SuspendRequested(*who),
            CompensateRequested(*who),
            AbandonRequested(*who),
            SkipRequested(*who, step),
            ResolveRequested(*who, step, self._chance.choice(list(Resolution))),
        )
        return self._chance.choice(verbs)

    async def _act(self, coordinator: Coordinator, saga_id: str, version: int, verb: Verb) -> None:
        with contextlib.suppress(SagaError):
            await coordinator.service.act(saga_id, version, verb, f"r{self.acts}")

    def _start(self, number: int) -> None:
        definition = self._chance.choice(self._world.definitions)
        version = self._apart.choice([one.version for one in self._world.versions if one.name == definition.name])
        # A key is of one definition; the same number asks for the same saga, or for another under the same key.
        key = f"k{number}"
        asked: dict[str, object] = {"key": key, "parity": number % 2}
        coordinator = self._somebody()
        if coordinator is not None and self._chance.random() < 0.5:
            start_at_ms = self._world.now_ms() + 3_000 if self._chance.random() < 0.1 else None
            self._world.spawn(self._post(coordinator, definition.name, version, asked, start_at_ms), coordinator.life)
            return
        value = encode(StartRequested(definition=definition.name, version=version, input=asked))
        now_ms = self._world.now_ms()
        headers = message_headers(StartRequested.ce_type, f"start-{number}", "shop", None, now_ms)
        topic = self._world.topology.replies
        partition = self._chance.randrange(self._world.size.partitions)
        self._place(Unplaced(topic, partition, key.encode(), value, tuple(headers)))

    async def _post(
        self, coordinator: Coordinator, name: str, version: int, asked: dict[str, object], start_at_ms: int | None
    ) -> None:
        request = StartRequest(name, version, asked, start_at_ms=start_at_ms)
        for _ in range(3):
            try:
                started = await coordinator.service.start(request)
            except Unavailable:
                continue
            except SagaError:
                return
            self.acknowledged.append(started.saga.id)
            return

    def _somebody(self) -> Coordinator | None:
        living = [one for _, one in sorted(self._world.coordinators.items()) if not one.life.dead]
        return self._chance.choice(living) if living else None

    def probe(self, *, with_junk: bool) -> None:
        """Put a record that anybody can read into each partition, and before it one that nobody can."""
        topic = self._world.topology.replies
        for partition in range(self._world.size.partitions):
            if with_junk:
                junk = self._apart.choice(JUNK)
                self._place(Unplaced(topic, partition, b"junk", junk, (("ce_type", b"SagaStepCompleted"),)))
            value = encode(Touched("00000000-0000-7000-8000-000000000000"))
            headers = message_headers(Touched.ce_type, f"probe-{partition}", "shop", None, 0)
            self._place(Unplaced(topic, partition, b"probe", value, tuple(headers)))

    def _litter(self, junk: Unplaced) -> None:
        """Place rubbish, half of it as close to the truth as somebody comes who is not to be believed."""
        rows = [row for row in self._commanded() if row.wake_ms is not None] or self._commanded()
        if rows and self._apart.random() < 0.5:
            junk = self._forged(self._apart.choice(rows), junk.partition)
        self._place(junk)

    def _forged(self, row: Row, partition: int) -> Unplaced:
        """An answer to a saga that there is, from the wrong hand, or to a command that it has not sent."""
        steps = self._world.by_id[row.definition_id].steps
        states = load_state(row.state).steps
        awaited = [step for step, state in zip(steps, states, strict=True) if state.deadline_ms is not None]
        step = self._apart.choice(awaited or steps)
        other = self._apart.choice([name for name in PARTICIPANTS if name != step.participant])
        own = f"{row.id}:1:{step.name}"
        kind, source, command_id = self._apart.choice(
            (
                (StepCompleted.ce_type, other, f"{own}:action"),
                (CompensationCompleted.ce_type, other, f"{own}:compensation"),
                (StepCompleted.ce_type, step.participant, f"{row.id}:9:{step.name}:action"),
                (StepCompleted.ce_type, step.participant, f"{own}_:action"),
                (StepCompleted.ce_type, step.participant, f"{own}:compensation"),
                (CompensationCompleted.ce_type, step.participant, f"{own}:action"),
            )
        )
        said: dict[str, object] = {"result": {}} if kind == StepCompleted.ce_type else {"effect": "undone"}
        reply = {"saga_id": row.id, "step_name": step.name, "command_id": command_id, "attempt": 1, **said}
        headers = message_headers(kind, f"forged-{command_id}", source, row.id, 0)
        value = json.dumps(reply).encode()
        return Unplaced(self._world.topology.replies, partition, row.id.encode(), value, tuple(headers))

    def _place(self, record: Unplaced) -> None:
        if self._world.broker.is_away:
            asyncio.get_running_loop().call_later(0.2, self._place, record)
        else:
            self._world.broker.store([record])

    def _junk(self) -> Unplaced:
        chance, topic = self._chance, self._world.topology.replies
        headers = message_headers("SagaStepCompleted", f"x{chance.randrange(999)}", "ann", None, 0)
        value = chance.choice(JUNK)
        if chance.random() < 0.5:  # in order, and about nothing that there is
            wild = f"00000000-0000-7000-8000-{chance.getrandbits(48):012x}"
            reply = {"saga_id": wild, "step_name": "step_0", "command_id": f"{wild}:1:step_0:action", "attempt": 1}
            value = json.dumps({**reply, "result": {}}).encode()
        partition = chance.randrange(self._world.size.partitions)
        return Unplaced(topic, partition, b"junk", value, tuple(headers))
