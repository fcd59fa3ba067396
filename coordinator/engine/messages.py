"""The messages that an effect asks for: built once, kept in the outbox, and handed to Kafka from memory."""

from __future__ import annotations

import msgspec

from coordinator.engine.cache import ActiveSaga
from coordinator.engine.topology import Topology
from coordinator.errors import InvariantError
from coordinator.kafka.records import Outgoing
from coordinator.observability.tracing import Tracing
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.effects import IssueCommand
from coordinator.saga.model import Direction, Outcome, Saga, command_id
from coordinator.store.batch import Token
from coordinator.store.postgres import UnsentMessage
from coordinator.wire.cloudevents import command_headers, event_headers
from coordinator.wire.messages import StartRefused, Touched
from coordinator.wire.outbound import CommandTemplate, encode_compensation
from coordinator.wire.rfc3339 import format_ms
from coordinator.wire.strict_json import encode


class _Sent(msgspec.Struct):
    """What identifies a command in its own value."""

    command_id: str
    attempt: int


_ACTION = Direction.ACTION  # every command passes here, and reading a member through its class is dear
_SENT = msgspec.json.Decoder(_Sent)


def refusal_id(token_id: str) -> str:
    """The ce_id of a SagaStartRefused event, from the id under which the outbox keeps it."""
    return f"{token_id}:refused"


class BuiltCommand(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a command, as the outbox keeps it."""

    destination: str
    partition: int
    type: str
    command_id: str
    attempt: int
    payload: bytes


class Plan:
    """What the commands of one step share: worked out once per definition and topology."""

    __slots__ = ("action", "action_template", "compensation", "expiry_ms", "name", "partitions", "topic")

    def __init__(self, topology: Topology, definition: SagaDefinition, step: Step) -> None:
        self.name = step.name
        self.action = step.action
        self.compensation = step.compensation or ""
        self.expiry_ms = step.expiry_ms
        self.topic = topology.commands(step.participant)
        self.partitions = topology.counts[self.topic]
        self.action_template = CommandTemplate(definition.name, step.name)


class CommandBuilder:
    """Writes commands of all definitions for one topology; `tracing` is for whoever sends them, None when it is off."""

    def __init__(self, topology: Topology, tracing: Tracing | None = None) -> None:
        self.tracing = tracing
        self._topology = topology
        self._plans: dict[int, list[Plan | None]] = {}

    def build(self, active: ActiveSaga, saga: Saga, effect: IssueCommand, now_ms: int) -> BuiltCommand:
        """Write the command that an effect asks for; `saga` is the saga after the transition."""
        plan = (self._plans.get(active.definition_id) or self._planned(active))[effect.step]
        if plan is None:
            raise InvariantError("an external step has no command")
        state = saga.steps[effect.step]
        partition = active.part % plan.partitions
        not_after_ms = now_ms + plan.expiry_ms
        action_id = command_id(saga.id, state.generation, plan.name, _ACTION)
        payload = active.input if isinstance(state.payload, msgspec.UnsetType) else bytes(state.payload)
        if effect.direction is _ACTION:
            value = plan.action_template.encode(
                active.key, action_id.encode(), effect.attempt, payload, format_ms(not_after_ms).encode()
            )
            return BuiltCommand(plan.topic, partition, plan.action, action_id, effect.attempt, value)
        identity = command_id(saga.id, state.generation, plan.name, Direction.COMPENSATION)
        done = state.outcome is Outcome.COMPLETED
        value = encode_compensation(
            saga.id,
            saga.definition,
            plan.name,
            identity,
            effect.attempt,
            not_after_ms,
            action_id,
            payload,
            "completed" if done else "unknown",
            bytes(state.result) if done and isinstance(state.result, msgspec.Raw) else None,
        )
        return BuiltCommand(plan.topic, partition, plan.compensation, identity, effect.attempt, value)

    def record(
        self, command: BuiltCommand, active: ActiveSaga, token: Token, now_ms: int, context: str | None = None
    ) -> Outgoing:
        """The Kafka record of a command; `context` is the trace context of its sending, else it is the saga's."""
        headers = command_headers(
            command.type,
            command.command_id,
            command.attempt,
            active.id,
            now_ms,
            self._topology.replies,
            active.part,
            context or active.traceparent,
        )
        return Outgoing(command.destination, command.partition, active.key, command.payload, headers, token)

    def _planned(self, active: ActiveSaga) -> list[Plan | None]:
        definition = active.definition
        plans = self._plans[active.definition_id] = [
            None if step.external else Plan(self._topology, definition, step) for step in definition.steps
        ]
        return plans


def unsent_record(topology: Topology, message: UnsentMessage) -> Outgoing:
    """The Kafka record of an outbox row, the same as the one that was built when it was written."""
    saga_id = message.token.saga_id
    if message.type == StartRefused.ce_type:
        headers = event_headers(message.type, refusal_id(saga_id), saga_id, message.created_ms, message.traceparent)
    else:
        command = _SENT.decode(message.payload)
        headers = command_headers(
            message.type,
            command.command_id,
            command.attempt,
            saga_id,
            message.created_ms,
            topology.replies,
            message.part,
            message.traceparent,
        )
    return Outgoing(message.destination, message.partition, saga_id.encode(), message.payload, headers, message.token)


def touched_record(topology: Topology, saga_id: str, part: int, version: int, now_ms: int) -> Outgoing:
    """The hint to a saga's owner that somebody else has written its row."""
    headers = event_headers(Touched.ce_type, f"{saga_id}:{version}:touched", saga_id, now_ms)
    return Outgoing(topology.replies, part, saga_id.encode(), encode(Touched(saga_id)), headers)
