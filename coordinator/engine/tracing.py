"""The spans of the engine's work, as OpenTelemetry's conventions for messaging name their attributes (ADR 0028)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from coordinator.engine.cache import ActiveSaga
from coordinator.engine.messages import BuiltCommand
from coordinator.engine.reading import ReplyArrival, StartArrival
from coordinator.observability.traceparent import is_sampled, named_child, trace_id
from coordinator.observability.tracing import Attributes, Span, SpanKind, Tracing
from coordinator.wire.cloudevents import attempt_id
from coordinator.wire.messages import CompensationFailed, ExternalFailed, StepFailed

LINKS_MAX = 64


def command_span(active: ActiveSaga, command: BuiltCommand, step_name: str, direction: str) -> Span | None:
    """Describe the sending of one attempt of a command; None when the saga's trace is not recorded.

    Its id follows from the attempt: the outbox may send the command again from another process.
    """
    parent = active.traceparent
    if parent is None or not is_sampled(parent):
        return None
    identity = attempt_id(command.command_id, command.attempt)
    attributes = {
        **_message("send", command.destination, command.partition, active.id),
        "messaging.message.id": identity,
        "messaging.kafka.message.key": active.id,
        **_saga(active, step_name),
        "saga.command": command.type,
        "saga.direction": direction,
        "saga.attempt": command.attempt,
    }
    context = named_child(parent, identity)
    return Span(f"send {command.destination}", SpanKind.PRODUCER, context, parent, time.time_ns(), attributes)


def reply_span(tracing: Tracing, active: ActiveSaga, arrival: ReplyArrival, topic: str) -> Span | None:
    """Describe the taking in of a reply; None when the saga's trace is not recorded.

    Its parent is what the participant says it did, or else the command that it answers.
    """
    ours = active.traceparent
    if ours is None or not is_sampled(ours):
        return None
    message = arrival.message
    theirs = arrival.traceparent
    links: list[str] = []
    if theirs is not None and trace_id(theirs) != trace_id(ours):
        links.append(theirs)
        theirs = None
    command_id = getattr(message, "command_id", None)
    if theirs is None and command_id is not None:
        theirs = named_child(ours, attempt_id(command_id, getattr(message, "attempt", 1)))
    attributes = {
        **_message("process", topic, arrival.part, active.id),
        "messaging.kafka.offset": arrival.offset,
        **_saga(active, message.step_name),
        "saga.reply": message.ce_type,
    }
    error = message.error.code if isinstance(message, StepFailed | CompensationFailed | ExternalFailed) else None
    parent = theirs or ours
    return Span(
        f"process {topic}",
        SpanKind.CONSUMER,
        tracing.context(ours),
        parent,
        time.time_ns(),
        attributes,
        links,
        error=error,
    )


def start_span(context: str, active: ActiveSaga, arrival: StartArrival, topic: str) -> Span:
    """Describe the taking in of a request to start a saga."""
    attributes = {
        **_message("process", topic, arrival.part, active.id),
        "messaging.kafka.offset": arrival.offset,
        "saga.definition": active.definition.name,
    }
    return Span(f"process {topic}", SpanKind.CONSUMER, context, arrival.traceparent, time.time_ns(), attributes)


def batch_span(tracing: Tracing, spans: Sequence[Span], began_ns: int, transitions: int) -> Span:
    """Describe the writing of a batch, which belongs to no saga: it is linked to those of its spans."""
    links = list({trace_id(span.context): span.context for span in spans}.values())[:LINKS_MAX]
    context = tracing.context(None)
    attributes = {"saga.batch.transitions": transitions, "saga.batch.sampled_spans": len(spans)}
    return Span("batch", SpanKind.INTERNAL, context, None, began_ns, attributes, links)


def _message(operation: str, topic: str, partition: int, saga_id: str) -> Attributes:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.message.conversation_id": saga_id,
    }


def _saga(active: ActiveSaga, step_name: str) -> Attributes:
    return {"saga.id": active.id, "saga.definition": active.definition.name, "saga.step": step_name}
