"""An AsyncAPI 3 document of every message, made from the definitions and the topics: all that a participant needs.

Operations are told from both sides, and tagged with whose they are: the coordinator sends commands, and the participant
receives them and answers on the topic that the header `reply-topic` names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from coordinator.describe.envelopes import Envelopes
from coordinator.describe.headers import header_schemas
from coordinator.describe.shapes import Shapes
from coordinator.engine.topology import Topology
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.wire.cloudevents import COORDINATOR, REPLY_PARTITION, REPLY_TOPIC, SCHEMA_VERSION
from coordinator.wire.messages import (
    EVENT_TYPES,
    INBOUND_TYPES,
    REPLY_TYPES,
    CompensationCompleted,
    CompensationFailed,
    StartRequested,
    StepCompleted,
    StepFailed,
    StepProgress,
)

Uses: TypeAlias = dict[tuple[str, str], list[tuple[SagaDefinition, Step]]]

_ACTION_ENDS = (StepFailed.ce_type, StepProgress.ce_type)
_UNDO_ENDS = (CompensationCompleted.ce_type, CompensationFailed.ce_type)
_REPLIES, _REPLY, _EVENTS, _LETTERS = "replies", "reply", "events", "dlq"
_ADDRESS = {
    "location": f"$message.header#/{REPLY_TOPIC}",
    "description": f"The reply goes to this topic, into the partition that the header {REPLY_PARTITION} names.",
}


def asyncapi(definitions: Iterable[SagaDefinition], topology: Topology) -> dict[str, Any]:
    """Make the document; raises DefinitionError for a model that cannot be written as JSON Schema."""
    return _Document(tuple(definitions), topology).written()


def render(document: dict[str, Any]) -> str:
    """The text of the document's file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


class _Document:
    def __init__(self, definitions: tuple[SagaDefinition, ...], topology: Topology) -> None:
        self._definitions = definitions
        self._topology = topology
        self._envelopes = Envelopes(Shapes(definitions), header_schemas(topology))
        self._channels: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, dict[str, Any]] = {}

    def written(self) -> dict[str, Any]:
        self._open_channels()
        self._add_commands()
        self._add_inbound()
        self._add_outbound()
        return {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Saga coordinator",
                "version": SCHEMA_VERSION,
                "description": f"Every message of {', '.join(sorted(self._by_name()))}. The duties of a participant: "
                "remember every command_id, do nothing twice, and refuse an action whose undo came first.",
                "license": {"name": "Apache-2.0"},
            },
            "defaultContentType": "application/json",
            "servers": {
                "kafka": {
                    "host": "{bootstrap}",
                    "protocol": "kafka",
                    "variables": {"bootstrap": {"default": "localhost:9092", "description": "The bootstrap server."}},
                }
            },
            "channels": self._channels,
            "operations": self._operations,
            "components": {"schemas": self._envelopes.schemas, "messages": self._envelopes.messages},
        }

    def _open_channels(self) -> None:
        topology = self._topology
        self._open(_REPLIES, topology.replies, "All that goes to the coordinator.")
        self._open(_EVENTS, topology.events, "What happens to sagas, one event per transition.")
        self._open(_LETTERS, topology.dead_letters, "Dead letters.")
        self._channels[_REPLY] = {
            "address": None,
            "description": f"Where a command's headers want its reply: {topology.replies}, unless they say otherwise.",
            "messages": {},
        }

    def _open(self, channel: str, topic: str, description: str) -> None:
        binding: dict[str, Any] = {"topic": topic, "bindingVersion": "0.5.0"}
        if topic in self._topology.counts:
            binding["partitions"] = self._topology.counts[topic]
        self._channels[channel] = {
            "address": topic,
            "description": description,
            "messages": {},
            "bindings": {"kafka": binding},
        }

    def _add_commands(self) -> None:
        envelopes = self._envelopes
        general = {cls.ce_type: envelopes.general(cls.ce_type) for cls in REPLY_TYPES if cls is not StepCompleted}
        for (participant, name), uses in self._uses(lambda step: step.action).items():
            replies = [envelopes.completed(participant, name, uses), *(general[kind] for kind in _ACTION_ENDS)]
            self._add_command(participant, envelopes.action(participant, name, uses), replies)
        for (participant, name), uses in self._uses(lambda step: step.compensation).items():
            replies = [general[kind] for kind in _UNDO_ENDS]
            self._add_command(participant, envelopes.compensation(participant, name, uses), replies)

    def _add_command(self, participant: str, command: str, replies: list[str]) -> None:
        channel = f"{participant}.commands"
        if channel not in self._channels:
            self._open(channel, self._topology.commands(participant), f"Commands to {participant}.")
        sent = self._put(channel, [command])
        self._put(_REPLIES, replies)
        answered = {
            "address": _ADDRESS,
            "channel": {"$ref": f"#/channels/{_REPLY}"},
            "messages": self._put(_REPLY, replies),
        }
        self._operate(f"{COORDINATOR}.send.{command}", "send", channel, sent, COORDINATOR, answered)
        self._operate(f"{participant}.receive.{command}", "receive", channel, sent, participant, answered)

    def _add_inbound(self) -> None:
        starts = [self._envelopes.start(name, versions) for name, versions in self._by_name().items()]
        others = [
            self._envelopes.general(cls.ce_type)
            for cls in INBOUND_TYPES
            if cls not in REPLY_TYPES and cls is not StartRequested
        ]
        asked = self._put(_REPLIES, starts)
        self._put(_REPLIES, others)
        everything = [self._reference(_REPLIES, name) for name in self._channels[_REPLIES]["messages"]]
        self._operate(f"{COORDINATOR}.receive.{_REPLIES}", "receive", _REPLIES, everything, COORDINATOR)
        self._operate("client.send.starts", "send", _REPLIES, asked, "client")

    def _add_outbound(self) -> None:
        events = self._put(_EVENTS, [self._envelopes.general(cls.ce_type) for cls in EVENT_TYPES])
        letters = self._put(_LETTERS, [self._envelopes.letter()])
        self._operate(f"{COORDINATOR}.send.{_EVENTS}", "send", _EVENTS, events, COORDINATOR)
        self._operate(f"{COORDINATOR}.send.{_LETTERS}", "send", _LETTERS, letters, COORDINATOR)

    def _put(self, channel: str, messages: list[str]) -> list[dict[str, str]]:
        """Let a channel carry messages; answers the references to them there."""
        for message in messages:
            self._channels[channel]["messages"][message] = {"$ref": f"#/components/messages/{message}"}
        return [self._reference(channel, message) for message in messages]

    def _reference(self, channel: str, message: str) -> dict[str, str]:
        return {"$ref": f"#/channels/{channel}/messages/{message}"}

    def _operate(
        self,
        name: str,
        action: str,
        channel: str,
        messages: list[dict[str, str]],
        whose: str,
        answered: dict[str, Any] | None = None,
    ) -> None:
        operation: dict[str, Any] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": messages,
            "tags": [{"name": whose}],
        }
        self._operations[name] = operation if answered is None else {**operation, "reply": answered}

    def _uses(self, named: Callable[[Step], str | None]) -> Uses:
        """Every (participant, command), with the steps that send it."""
        uses: Uses = {}
        for definition in self._definitions:
            for step in definition.steps:
                name = named(step)
                if name:
                    uses.setdefault((step.participant, name), []).append((definition, step))
        return uses

    def _by_name(self) -> dict[str, list[SagaDefinition]]:
        versions: dict[str, list[SagaDefinition]] = {}
        for definition in sorted(self._definitions, key=lambda one: one.version):
            versions.setdefault(definition.name, []).append(definition)
        return versions
