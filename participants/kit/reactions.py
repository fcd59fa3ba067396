"""Reacting to others' events: an event becomes the command that its reaction names, and the answer becomes an event.

So every duty of a command holds for events as well. The command's id comes from the business key and the action: an
event that comes again, under whatever id, is answered from memory, and what was said then is said again under the same
ce_id. An undo before its action leaves a tombstone.

An event carries all that came before it, and adds under its sender's name what its sender did: whoever reads it needs
nothing else, and a single event that is published again is enough to go on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import msgspec

from coordinator.wire.cloudevents import message_headers, open_envelope
from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import (
    AnyCommand,
    Command,
    Compensation,
    CompensationCompleted,
    CompensationFailed,
    Reply,
    StepCompleted,
    StepFailed,
)
from coordinator.wire.murmur2 import partition_of
from coordinator.wire.strict_json import Refused, decode_object, encode
from participants.kit import outcomes
from participants.kit.duties import COMPENSATED_ALREADY, Prepared, Result
from participants.kit.inbox import Record
from participants.kit.participant import Participant, Reaction
from participants.kit.replies import Outgoing

KEY_LENGTH_MAX: Final = 200
# An action takes and says no more than this; up to the readers' limit there is room for a refusal and the way back.
EVENT_BYTES_MAX: Final = 240 * 1024
_NEVER: Final = "9999-12-31T23:59:59Z"  # an event is a fact: it does not expire
_NEVER_MS: Final = 253_402_300_799_000
_NOT_DONE: Final = frozenset({"error", "effect"})  # what a participant says of an action that is not, or not any more
_HEADERS: Final = msgspec.json.Decoder(tuple[tuple[str, bytes | None], ...])


class InboundEvent(InboundCommand, frozen=True, gc=False, kw_only=True):
    """An event as the command that a reaction of `participant` makes of it; `subject` is the business key."""

    participant: str
    reaction: Reaction
    subject: str
    data: dict[str, Any]
    record: Record


class PostponedRecord(msgspec.Struct, frozen=True):
    """An event that failed before and is handled again."""

    topic: str
    partition: int
    offset: int
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    key: bytes | None = None


def events_topic(prefix: str, source: str) -> str:
    """Name the topic on which a participant says what happened."""
    return f"{prefix}{source}.events"


def read_event(
    record: Record, participant: Participant, source: str, topic: str, partitions: int
) -> InboundEvent | None:
    """Read an event of `source`; None when it is none of the participant's business; raises `Refused`.

    What comes of it goes to `topic`, which has so many partitions, keyed by the business key as any client would.
    """
    envelope = open_envelope(record.headers, record.value)
    reaction = participant.reaction(source, envelope.ce_type)
    if reaction is None:
        return None
    if envelope.source != source:
        raise Refused("not_owner", f"only {source} says this here", path="ce_source")
    subject = envelope.data.get(reaction.correlation)
    if not isinstance(subject, str) or not 1 <= len(subject) <= KEY_LENGTH_MAX or not subject.isprintable():
        raise Refused("schema", f"1 to {KEY_LENGTH_MAX} printable characters", path=reaction.correlation)
    if reaction.compensation is None and (size := len(encode(envelope.data))) > EVENT_BYTES_MAX:
        raise Refused("too_large", f"{size} bytes; an action takes {EVENT_BYTES_MAX}")
    return InboundEvent(
        command=_command(participant.name, reaction, subject, envelope.data),
        name=reaction.compensation or reaction.action,
        ce_id=envelope.ce_id,
        source=source,
        reply_topic=topic,
        reply_partition=partition_of(subject.encode(), partitions),
        not_after_ms=_NEVER_MS,
        traceparent=envelope.traceparent,
        participant=participant.name,
        reaction=reaction,
        subject=subject,
        data=envelope.data,
        record=record,
    )


def _command(name: str, reaction: Reaction, subject: str, data: dict[str, Any]) -> AnyCommand:
    action_id = f"{subject}:{reaction.action}"
    if reaction.compensation is None:
        return Command(subject, reaction.event, reaction.action, action_id, 1, "action", data, _NEVER)
    mine = data.get(name)
    is_done = isinstance(mine, dict) and not mine.keys() & _NOT_DONE
    return Compensation(
        *(
            subject,
            reaction.event,
            reaction.action,
            f"{subject}:{reaction.compensation}",
            1,
            "compensation",
            {},
            _NEVER,
        ),
        compensates=action_id,
        original_payload=data,
        original_outcome="completed" if is_done else "unknown",
        original_result=mine if isinstance(mine, dict) else None,
    )


def check_said(inbound: InboundEvent, outcome: Prepared) -> None:
    """Check what would be said of a completed action, before its work is kept.

    Raises outcomes.Refused when no reader would take it: whoever asked can do nothing but walk back.
    """
    if not isinstance(outcome, Result):
        return
    value = encode({**inbound.data, inbound.participant: msgspec.Raw(outcome.json.encode())})
    try:
        decode_object(value, max_bytes=EVENT_BYTES_MAX)
    except Refused as refusal:
        raise outcomes.Refused(refusal.reason, f"{inbound.reaction.emits}: {refusal.detail}") from None


def emit(inbound: InboundEvent, reply: Reply, now_ms: int) -> Outgoing | None:
    """Turn an answer into the event that says it; None when there is nothing to say."""
    said = _said(inbound.reaction, reply)
    if said is None:
        return None
    ce_type, answer = said
    ce_id = f"{inbound.subject}:{ce_type}"
    return Outgoing(
        topic=inbound.reply_topic,
        partition=inbound.reply_partition,
        key=inbound.subject.encode(),
        headers=message_headers(ce_type, ce_id, inbound.participant, inbound.subject, now_ms, inbound.traceparent),
        value=encode({**inbound.data, inbound.participant: answer}),
    )


def _said(reaction: Reaction, reply: Reply) -> tuple[str, Mapping[str, object]] | None:
    match reply:
        case StepCompleted():
            return reaction.emits, reply.result
        case CompensationCompleted():
            return reaction.emits, {"effect": reply.effect}
        case StepFailed() if reply.error.code == COMPENSATED_ALREADY.code:
            return None  # the undo came first and has said what there is to say
        case StepFailed() if not reply.error.retryable:
            return reaction.refused, {"error": {"code": reply.error.code, "message": reply.error.message}}
        case _:
            return None


def may_pass(reply: Reply) -> bool:
    """Whether an event's handling failed in a way that may pass, so that it must be handled again."""
    if isinstance(reply, CompensationFailed):
        return True  # an undo is owed whatever was said about it
    return isinstance(reply, StepFailed) and reply.error.retryable


def dump_headers(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Write headers from anywhere as JSON, their values in base64."""
    return msgspec.json.encode(list(headers)).decode()


def load_headers(text: str) -> tuple[tuple[str, bytes], ...]:
    """Read what `dump_headers` wrote."""
    return cast("tuple[tuple[str, bytes], ...]", _HEADERS.decode(text))  # one that was null is null again
