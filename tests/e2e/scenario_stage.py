"""Where scenarios are played for real: one coordinator, and a test that speaks for participants and operators.

What the pure player expects is compared with the commands that arrive, the log, the steps, incidents and dead letters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from coordinator.errors import InvalidInput
from coordinator.saga import events
from coordinator.saga.effects import DeadLetterCommand, Effect, IssueCommand, Moved, OpenIncident
from coordinator.saga.model import Direction, Saga
from coordinator.scenario.player import SAGA_ID, Happened
from coordinator.services.verbs import VerbRefused
from tests.e2e.orders import order
from tests.e2e.scenario_plans import Part, Plan, fires
from tests.e2e.world import Coordinator, World, event_headers
from tests.integration.api.office import Office

LOOK_S = 0.05
# A deadline that meets its command still in the outbox is put off: it happens or not, and nothing else depends on it.
PUT_OFF = "PublicationDelayed"
VERSIONS = f"""
    SELECT s.id::text, s.version - count(l.saga_id) AS version
    FROM saga s LEFT JOIN saga_log l ON l.saga_id = s.id AND l.event = '{PUT_OFF}'
    GROUP BY s.id"""  # noqa: S608
PATIENCE_S = 40.0
# A result that is not written out fits, says the language: so it must here.
RESULTS: dict[str, dict[str, Any]] = {
    "reserve_inventory": {"reservation_id": "r-1"},
    "process_payment": {"payment_id": "p-1", "amount_cents": 4_200},
    "create_shipment": {"shipment_id": "s-1"},
    "send_confirmation": {"notice_id": "n-1"},
    "approval": {"approved_by": "bert"},
}
CE_TYPES = {
    events.StepCompleted: "SagaStepCompleted",
    events.StepFailed: "SagaStepFailed",
    events.StepProgressed: "SagaStepProgress",
    events.CompensationCompleted: "SagaCompensationCompleted",
    events.CompensationFailed: "SagaCompensationFailed",
}
Sent = tuple[str, str, str, int]  # topic, name, command id, attempt


class Stage:
    """One coordinator with its database and topics; looks at both again and again, for all scenarios at once."""

    def __init__(self, world: World, coordinator: Coordinator, office: Office) -> None:
        self.world = world
        self.coordinator = coordinator
        self.office = office
        self.commands: dict[str, dict[Sent, dict[str, Any]]] = {}
        self.versions: dict[str, int] = {}
        self.read: dict[int, int] = {}
        self._looked = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, topics: list[str]) -> None:
        """Begin to look."""
        self._tasks = [asyncio.create_task(self._consume(topics)), asyncio.create_task(self._look())]

    async def close(self) -> None:
        """Stop looking; raises what went wrong meanwhile."""
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    async def until(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        """Wait until a condition on what is seen holds; fails with what it was."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._looked:
                await self._looked.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_S:g} s: {what()}") from None

    async def _look(self) -> None:
        connection = await asyncpg.connect(self.world.url)
        try:
            while True:
                rows = await connection.fetch(VERSIONS)
                shards = await connection.fetch("SELECT part, next_offset FROM shard")
                async with self._looked:
                    self.versions = {row["id"]: row["version"] for row in rows}
                    self.read = {row["part"]: row["next_offset"] for row in shards}
                    self._looked.notify_all()
                await asyncio.sleep(LOOK_S)
        finally:
            await connection.close()

    async def _consume(self, topics: list[str]) -> None:
        consumer = AIOKafkaConsumer(
            *topics, bootstrap_servers=self.world.stack.kafka.bootstrap_servers, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            async for record in consumer:
                async with self._looked:
                    self._take(record)
                    self._looked.notify_all()
        finally:
            await consumer.stop()

    def _take(self, record: ConsumerRecord[bytes, bytes]) -> None:
        """Remember a command; one that is sent twice, as it may be, counts once."""
        command = msgspec.json.decode(record.value or b"")
        name = dict(record.headers)["ce_type"].decode()
        sent = (record.topic, name, command["command_id"], command["attempt"])
        self.commands.setdefault(command["saga_id"], {})[sent] = command


class Performance:
    """One scenario, played line by line."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.stage = stage
        self.plan = plan
        self.saga_id = ""
        self.part = 0
        self.input: dict[str, Any] = {}
        self.expected: dict[Sent, Any] = {}
        self.log: list[tuple[int, str, str | None, str]] = []
        self.effects: list[Effect] = []

    async def play(self) -> None:
        """Play all of it; raises AssertionError where the world and the pure machine differ."""
        await self._begin()
        for number, part in enumerate(self.plan.parts):
            act = self._act(part)
            if act is not None:
                await act
            for happened in part.happened:
                self._expect(happened)
            await self._follows(part)
            following = self.plan.parts[number + 1 :]
            if not (following and fires(following[0])):
                await self._compare(part)
        await self._compare_records()

    async def _begin(self) -> None:
        begun = self.plan.begun
        self.input = order() if begun.saga.input == b"{}" else msgspec.json.decode(begun.saga.input)
        body = {"definition": self.plan.definition.name, "input": self.input}
        if self.plan.starts_in is not None:
            body["start_at"] = (datetime.now(UTC) + self.plan.starts_in).isoformat()
        answer = await self.stage.coordinator.http.post("/v1/sagas", json=body)
        assert answer.status_code == 201, answer.text
        self.saga_id = answer.json()["id"]
        self.part = await self.stage.world.value("SELECT part FROM saga WHERE id = $1::uuid", self.saga_id)
        self.log.append((1, "SagaStarted", None, begun.saga.status))
        self._expect_effects(begun)

    # ------------------------------------------------------------ what is said

    def _act(self, part: Part) -> Awaitable[None] | None:
        if part.line.verb == "reply":
            return self._reply(part)
        if part.line.verb == "outside":
            return self._answer(part)
        if part.happened and isinstance(part.happened[0].event, events.Verb):
            return self._steer(part.happened[0], part.happened[0].event)
        return None

    async def _reply(self, part: Part) -> None:
        """Speak for a participant, and wait until it was heard."""
        event = part.happened[0].event
        assert isinstance(event, events.Reply)
        value: dict[str, Any] = {
            "saga_id": self.saga_id,
            "step_name": event.step_name,
            "command_id": event.command_id.replace(SAGA_ID, self.saga_id),
            "attempt": max(1, event.attempt),
        }
        if isinstance(event, events.StepCompleted):
            fits = part.line.body is None and "problem" not in part.line.options
            value["result"] = RESULTS.get(event.step_name, {}) if fits else event.result
        elif isinstance(event, events.CompensationCompleted):
            value["effect"] = event.effect
        elif isinstance(event, events.StepFailed | events.CompensationFailed):
            value["error"] = event.error
        producer = await self.stage.world.producer()
        record = await producer.send_and_wait(
            f"{self.stage.world.prefix}replies",
            msgspec.json.encode(value),
            key=self.saga_id.encode(),
            headers=event_headers(CE_TYPES[type(event)], event.source),
            partition=self.part,
        )
        await self.stage.until(
            lambda: self.stage.read.get(self.part, 0) > record.offset,
            lambda: f"the record of {part.line.text!r} is read",
        )

    async def _answer(self, part: Part) -> None:
        """Speak for somebody outside."""
        [happened] = part.happened
        event = happened.event
        if isinstance(event, events.ExternalCompleted):
            result = RESULTS.get(event.step_name, {}) if part.line.body is None else event.result
            way = "complete"
            body: dict[str, Any] = {"result": result}
        else:
            assert isinstance(event, events.ExternalFailed)
            way, body = "fail", {"code": event.error.code, "message": event.error.message}
        answer = await self.stage.coordinator.http.post(
            f"/v1/sagas/{self.saga_id}/steps/{event.step_name}/{way}",
            content=msgspec.json.encode(body),
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == (202 if isinstance(happened.decision, Moved) else 409), answer.text

    async def _steer(self, happened: Happened, verb: events.Verb) -> None:
        """Act as an operator: `retry` through the API, the other verbs as any process that serves the API does them."""
        version = (await self.stage.coordinator.get(self.saga_id))["version"]
        if isinstance(verb, events.RetryRequested) and verb.step_name is None and verb.payload is None:
            body = {"reason": verb.reason, "expected_version": version}
            answer = await self.stage.coordinator.http.post(f"/v1/sagas/{self.saga_id}/retry", json=body)
            assert answer.status_code == (202 if isinstance(happened.decision, Moved) else 409), answer.text
            return
        refusal = None
        try:
            await self.stage.office.service.act(self.saga_id, version, verb)
        except InvalidInput as error:  # of its result: the sentence stands apart from the field's name
            refusal = f"{error.pointer.lstrip('/')}: {error}"
        except VerbRefused as error:
            refusal = str(error)
        same(f"{verb}", refusal, happened.decision if isinstance(happened.decision, str) else None)

    # ------------------------------------------------------------ what follows

    def _expect(self, happened: Happened) -> None:
        if isinstance(happened.decision, Moved):
            event, after = happened.event, happened.after
            self.log.append((after.version, type(event).__name__, getattr(event, "step_name", None), after.status))
            self._expect_effects(happened.decision)

    def _expect_effects(self, moved: Moved) -> None:
        self.effects += moved.effects
        for effect in moved.effects:
            if isinstance(effect, IssueCommand):
                step, state = self.plan.definition.steps[effect.step], moved.saga.steps[effect.step]
                action = effect.direction is Direction.ACTION
                name = step.action if action else step.compensation or ""
                identity = f"{self.saga_id}:{state.generation}:{step.name}:{effect.direction}"
                topic = f"{self.stage.world.prefix}{step.participant}.commands"
                payload = msgspec.json.decode(state.payload) if isinstance(state.payload, msgspec.Raw) else self.input
                self.expected[topic, name, identity, effect.attempt] = payload

    async def _follows(self, part: Part) -> None:
        """Wait for the version and the commands that a line leads to."""
        version = self.log[-1][0]
        sent = self.stage.commands.setdefault(self.saga_id, {})
        await self.stage.until(
            lambda: self.stage.versions.get(self.saga_id, 0) >= version and self.expected.keys() <= sent.keys(),
            lambda: (
                f"{part.line.text!r} leads to {self.log[-1]} and {self.expected.keys() - sent.keys()};"
                f" it is version {self.stage.versions.get(self.saga_id)}"
            ),
        )

    async def _compare(self, part: Part) -> None:
        """Where no timer runs that this scenario waits for, the saga is exactly what the pure machine says."""
        found = await self.stage.coordinator.get(self.saga_id)
        wanted = part.happened[-1].after if part.happened else None
        if wanted is not None:
            same(part.line.text, _facts_found(found), _facts(self.plan, wanted))

    async def _compare_records(self) -> None:
        found = await self.stage.coordinator.get(self.saga_id)
        entries = [entry for entry in found["log"] if entry["event"] != PUT_OFF]
        log = [
            (version, each["event"], each["step_name"], each["status"]) for version, each in enumerate(entries, start=1)
        ]
        same("log", log, self.log)
        same("steps", _facts_found(found), _facts(self.plan, self.plan.end))
        sent = {sent: _carried(command) for sent, command in self.stage.commands[self.saga_id].items()}
        same("commands", sent, self.expected)
        names = [step.name for step in self.plan.definition.steps]
        wanted = [
            (str(effect.reason), None if effect.step is None else names[effect.step])
            for effect in self.effects
            if isinstance(effect, OpenIncident)
        ]
        incidents = [(each["reason"], each["step_name"]) for each in found["incidents"]]
        same("incidents", sorted(incidents, key=str), sorted(wanted, key=str))
        letters = await self.stage.world.value(
            "SELECT count(*) FROM dead_letter WHERE saga_id = $1::uuid", self.saga_id
        )
        same("dead letters", letters, sum(isinstance(effect, DeadLetterCommand) for effect in self.effects))


def same(what: str, found: object, wanted: object) -> None:
    """Fail with both sides when they differ."""
    if found != wanted:
        raise AssertionError(f"{what}\n   found: {found}\n  wanted: {wanted}")


def _carried(command: dict[str, Any]) -> Any:
    """What an action carries; of a compensation, what its action carried."""
    return command["payload"] if command["direction"] == Direction.ACTION else command["original_payload"]


def _facts(plan: Plan, saga: Saga) -> tuple[Any, ...]:
    steps = [
        (step.name, state.outcome, state.undo, state.generation, state.attempt, state.undo_attempt, state.late_success)
        for step, state in zip(plan.definition.steps, saga.steps, strict=True)
    ]
    return saga.status, saga.facing, saga.version, steps


def _facts_found(found: dict[str, Any]) -> tuple[Any, ...]:
    names = ("name", "outcome", "undo", "generation", "attempts", "undo_attempts", "late_success")
    steps = [tuple(step[name] for name in names) for step in found["steps"]]
    version = sum(entry["event"] != PUT_OFF for entry in found["log"])
    return found["status"], found["facing"], version, steps
