"""The invariants that hold at every commit and at every record that is stored, looked at from outside of the engine.

Nothing here reads a saga's state, which a wrong engine would write wrongly as well: what was asked for is in the
outbox, what was heard is in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator.saga.definition import SagaDefinition
from coordinator.store.batch import Token
from coordinator.wire.cloudevents import attempt_id
from tests.simulation.broker import Kept
from tests.simulation.database import Written

TERMINAL = frozenset({"completed", "failed", "abandoned"})
VERBS = frozenset(
    {
        "RetryRequested",
        "SkipRequested",
        "ResolveRequested",
        "CompensateRequested",
        "SuspendRequested",
        "ResumeRequested",
        "AbandonRequested",
    }
)


class Violation(AssertionError):
    """An invariant does not hold; the text begins with its name."""


class _Sent(msgspec.Struct):
    command_id: str
    attempt: int
    direction: str
    step_name: str


class _Account:
    """What was asked and heard of one saga so far."""

    def __init__(self, definition: SagaDefinition) -> None:
        self.definition = definition
        self.version = 0
        self.asked: set[str] = set()
        self.undoing: set[str] = set()
        self.done: set[str] = set()
        self.refused: set[str] = set()
        self.undone: set[str] = set()
        self.told: set[str] = set()
        self.turned_back = False


_SENT = msgspec.json.Decoder(_Sent)


class Watch:
    """Raises Violation from within the commit or the publication that breaks a rule."""

    def __init__(self, definitions: Mapping[int, SagaDefinition]) -> None:
        self._definitions = definitions
        self._accounts: dict[str, _Account] = {}
        self._observed: dict[str, int] = {}  # the version of each observed saga
        self.committed: dict[str, bytes] = {}  # what may be on Kafka: by ce_id, its value
        self._payloads: dict[str, Any] = {}
        self.published: set[str] = set()
        self._tokens: dict[str, Token] = {}  # the place in the outbox, by ce_id
        self._acted_on: set[str] = set()
        self._newest: dict[tuple[str, str, int], Token] = {}  # what was published last of a saga in a partition
        self.transitions = 0

    # ------------------------------------------------------------ at a commit

    def committed_batch(self, written: Written) -> None:
        """A batch is durable."""
        batch = written.batch
        for fence in batch.fences:
            if sum(fence[5:]) != fence.next_offset - fence.from_offset:
                raise Violation(f"I16 one verdict per record: {fence}")
        for start in batch.starts:
            self._begin(start[2], start[5])
        acts = {act.saga_id for act in batch.audits}
        self._acted_on |= acts
        for saga_id, _, version, status, *_ in batch.moves:
            before = written.before[saga_id][1]
            if before in TERMINAL and status != before and saga_id not in acts:
                raise Violation(f"I3 a saga that has ended stays so: {saga_id} was {before}, is {status} at {version}")
        # The log before the outbox: what was heard is why something is asked for.
        for saga_id, version, _, event, step_name, _, data in batch.logs:
            self._hear(saga_id, version, event, step_name, data)
        for row in batch.out:
            self._ask(Token(*row[:3]), row[4], row[6], row[8])
        for move in batch.moves:
            if self._version(move[0]) != move[2]:
                raise Violation(f"I24 the log reaches the row: {move[0]} is at {move[2]}")
        self.transitions += len(batch.logs)

    def _begin(self, saga_id: str, definition_id: int) -> None:
        if definition_id in self._definitions:
            self._accounts[saga_id] = _Account(self._definitions[definition_id])
        else:
            self._observed[saga_id] = 0

    def _version(self, saga_id: str) -> int:
        return self._observed[saga_id] if saga_id in self._observed else self._accounts[saga_id].version

    def _hear(self, saga_id: str, version: int, event: str, step: str | None, data: bytes) -> None:
        if version != self._version(saga_id) + 1:
            raise Violation(f"I20 a single chain: {saga_id} goes from {self._version(saga_id)} to {version}")
        if saga_id in self._observed:
            self._observed[saga_id] = version
            return
        account = self._accounts[saga_id]
        account.version = version
        if event in VERBS or event.startswith("External"):
            account.told.add(event)
            if step is not None:
                account.done.add(step)
                account.undone.add(step)
        if step is None:
            return
        if event == "StepCompleted":
            account.done.add(step)
        elif event == "StepFailed" and not msgspec.json.decode(data)["error"]["retryable"]:
            account.refused.add(step)
        elif event == "CompensationCompleted":
            account.undone.add(step)

    def _ask(self, token: Token, topic: str, type_: str, payload: bytes) -> None:
        if not topic.endswith(".commands"):
            return
        sent = _SENT.decode(payload)
        account = self._accounts[token.saga_id]
        position = account.definition.index.get(sent.step_name, -1)
        step = account.definition.steps[position]
        planned = (f"{step.participant}.commands", step.action if sent.direction == "action" else step.compensation)
        if position < 0 or not topic.endswith(planned[0]) or type_ != planned[1]:
            raise Violation(f"I9 a saga keeps to the version that it began with: {token} asks {topic} for {type_}")
        stage = account.definition.stage_of[position]
        self._check_same(sent.command_id, payload)
        identity = attempt_id(sent.command_id, sent.attempt)
        self.committed[identity] = payload
        self._tokens[identity] = token
        if sent.direction == "action":
            self._check_forward(account, token, sent.step_name, stage)
            account.asked.add(sent.step_name)
            account.refused.discard(sent.step_name)
        else:
            self._check_backward(account, token, sent.step_name, stage)
            account.undoing.add(sent.step_name)
            account.turned_back = True

    def _check_same(self, command_id: str, payload: bytes) -> None:
        value = msgspec.json.decode(payload)
        for changing in ("attempt", "not_after"):
            del value[changing]
        if self._payloads.setdefault(command_id, value) != value:
            raise Violation(f"I8 all attempts say the same: {command_id}")

    def _check_forward(self, account: _Account, token: Token, step: str, stage: int) -> None:
        if account.turned_back:
            raise Violation(f"I12 no way forward once turned back: {token} asks for {step}")
        for position, earlier in enumerate(account.definition.steps):
            before = account.definition.stage_of[position] < stage
            if before and earlier.name in account.asked and earlier.name not in account.done:
                raise Violation(f"I7 one step after the other: {token} asks for {step} before {earlier.name} is done")
            known = account.asked | account.done
            if before and earlier.name not in known and earlier.when is None:
                raise Violation(f"I7 no step is passed over: {token} asks for {step}, and never for {earlier.name}")

    def _check_backward(self, account: _Account, token: Token, step: str, stage: int) -> None:
        if step not in account.asked:
            raise Violation(f"I10 only what was asked for is undone: {token} undoes {step}")
        if step in account.refused - account.done:
            raise Violation(f"I10 what was refused is not undone: {token} undoes {step}")
        for position, later in enumerate(account.definition.steps):
            if account.definition.stage_of[position] <= stage or later.name not in account.asked:
                continue
            settled = account.undone | account.refused
            if later.compensation is not None and later.name not in settled:
                raise Violation(f"I11 the last is undone first: {token} undoes {step} before {later.name}")

    # ------------------------------------------------------------ at a record

    def stored(self, record: Kept) -> None:
        """Kafka has a record."""
        if not record.topic.endswith(".commands"):
            return
        identity = next((value or b"").decode() for name, value in record.headers if name == "ce_id")
        if self.committed.get(identity) != record.value:
            raise Violation(f"I14 only what is committed is published: {identity}")
        if identity not in self.published:
            self._check_order(identity, record)
            self.published.add(identity)

    def _check_order(self, identity: str, record: Kept) -> None:
        """The first copies of a saga's commands come in the order in which they were written.

        A person does not wait for what is still to be sent: an act may overtake it, and so may what follows from it.
        Nor does a command wait for a repetition of one before it that was answered meanwhile.
        """
        token = self._tokens[identity]
        if token.saga_id in self._acted_on:
            return
        lane = (token.saga_id, record.topic, record.partition)
        newest = self._newest.setdefault(lane, token)
        if token < newest and identity.endswith("#1"):
            raise Violation(f"I15 in the order of the outbox: {identity} comes after {newest}")
        self._newest[lane] = max(token, newest)
