"""What tracing adds to a batch: a context per command that any process would give it, and spans only where wanted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from coordinator.engine.cache import ActiveSaga
from coordinator.engine.draft import Draft
from coordinator.engine.messages import CommandBuilder, unsent_record
from coordinator.engine.reading import ReplyArrival
from coordinator.engine.topology import Topology
from coordinator.engine.tracing import batch_span, reply_span
from coordinator.kafka.records import Outgoing
from coordinator.observability.traceparent import named_child, span_id, trace_id
from coordinator.observability.tracing import Span, SpanKind, Tracing
from coordinator.saga.machine import begin
from coordinator.store.batch import Token
from coordinator.store.postgres import UnsentMessage
from coordinator.wire.messages import StepCompleted, StepError, StepFailed
from sagas.order_fulfillment import order_fulfillment

NOW_MS = 1_795_440_497_196
SAGA_ID = "01932a7c-0000-7000-8000-000000000001"
GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"
UNSAMPLED = f"{GIVEN[:-2]}00"
COMMAND_ID = f"{SAGA_ID}:1:reserve_inventory:action"


class Nowhere:
    """An exporter that takes nothing."""

    def export(self, spans: Sequence[Span]) -> None:
        """Take nothing."""

    async def stop(self) -> None:
        """Nothing is left to send."""


TRACING = Tracing(Nowhere(), 1.0)


def topology() -> Topology:
    counts = {f"saga.{participant}.commands": 8 for participant in order_fulfillment.participants}
    return Topology("saga.", {**counts, "saga.replies": 16, "saga.events": 8, "saga.dlq": 1})


def active(traceparent: str | None) -> ActiveSaga:
    begun = begin(order_fulfillment, SAGA_ID, now_ms=NOW_MS)
    return ActiveSaga(begun.saga, order_fulfillment, 1, 11, "order-1", traceparent, b'{"order_id":"order-1"}', NOW_MS)


def begun(traceparent: str | None, tracing: Tracing | None = TRACING) -> Draft:
    draft = Draft(CommandBuilder(topology(), tracing))
    draft.begin(active(traceparent), begin(order_fulfillment, SAGA_ID, now_ms=NOW_MS), b"", NOW_MS)
    return draft


def header(record: Outgoing) -> str | None:
    found = dict(record.headers).get("traceparent")
    return None if found is None else found.decode()


def reply(traceparent: str | None, message: StepCompleted | StepFailed | None = None) -> ReplyArrival:
    given = message or StepCompleted(SAGA_ID, "reserve_inventory", COMMAND_ID, 1, {})
    return ReplyArrival(11, 5, SAGA_ID, given, "inventory", b"{}", None, traceparent)  # type: ignore[arg-type]


def test_a_command_carries_the_span_of_its_attempt() -> None:
    """Header, outbox row and span agree, and the sweeper of another process sends the same header."""
    draft = begun(GIVEN)
    [record], [row], [span] = draft.records, draft.batch.out, draft.spans
    assert header(record) == row[7] == span.context
    assert (span.kind, span.parent, span.name) == (SpanKind.PRODUCER, GIVEN, "send saga.inventory.commands")
    identity = dict(record.headers)["ce_id"].decode()
    assert span.context == named_child(GIVEN, identity)
    assert span.attributes["messaging.message.id"] == identity
    left = UnsentMessage(Token(SAGA_ID, 1, 0), 11, row[4], row[5], row[6], row[7], row[8], NOW_MS)
    assert unsent_record(topology(), left).headers == record.headers
    assert begun(GIVEN).spans[0].context == span.context


@pytest.mark.parametrize(
    ("traceparent", "tracing"), [(GIVEN, None), (UNSAMPLED, TRACING), (UNSAMPLED, None), (None, TRACING), (None, None)]
)
def test_where_nothing_is_recorded_the_context_passes_through(traceparent: str | None, tracing: Tracing | None) -> None:
    """Off, or unsampled, a command carries what the saga was started with, and there are no spans."""
    draft = begun(traceparent, tracing)
    assert draft.spans == []
    assert header(draft.records[0]) == draft.batch.out[0][7] == traceparent


def test_a_reply_hangs_from_what_the_participant_did() -> None:
    """The parent of a reply's span is in its header."""
    work = f"00-{trace_id(GIVEN)}-1111111111111111-01"
    span = reply_span(TRACING, active(GIVEN), reply(work), "saga.replies")
    assert span is not None
    assert (span.parent, span.kind, trace_id(span.context)) == (work, SpanKind.CONSUMER, trace_id(GIVEN))
    assert span_id(span.context) not in (span_id(work), span_id(GIVEN))


def test_a_reply_without_a_trace_hangs_from_its_command() -> None:
    """A participant that knows nothing of traces, or is in another one, breaks none."""
    draft = begun(GIVEN)
    command = draft.spans[0]
    identity = str(command.attributes["messaging.message.id"]).partition("#")[0]
    message = StepCompleted(SAGA_ID, "reserve_inventory", identity, 1, {})
    for theirs, links in ((None, []), (OTHER, [OTHER])):
        span = reply_span(TRACING, active(GIVEN), reply(theirs, message), "saga.replies")
        assert span is not None
        assert (span.parent, span.links) == (command.context, links)


def test_a_failure_is_told_by_its_code() -> None:
    """The span of a refusal has its code for an error."""
    failed = StepFailed(SAGA_ID, "reserve_inventory", COMMAND_ID, 1, StepError("sold_out", "none left", False))
    span = reply_span(TRACING, active(GIVEN), reply(GIVEN, failed), "saga.replies")
    assert span is not None
    assert span.error == "sold_out"
    assert "none left" not in str(span)


@pytest.mark.parametrize("traceparent", [None, UNSAMPLED])
def test_a_reply_of_a_saga_that_is_not_recorded_has_no_span(traceparent: str | None) -> None:
    """Whatever a participant sends, the saga's own flag decides."""
    assert reply_span(TRACING, active(traceparent), reply(GIVEN), "saga.replies") is None


def test_a_batch_is_linked_to_its_sagas() -> None:
    """A batch is a trace of its own with one link for each trace in it."""
    spans = [*begun(GIVEN).spans, *begun(GIVEN).spans, *begun(OTHER).spans]
    batch = batch_span(TRACING, spans, 1, 3)
    assert batch.parent is None
    assert {trace_id(link) for link in batch.links} == {trace_id(GIVEN), trace_id(OTHER)}
    assert len(batch.links) == 2
    assert trace_id(batch.context) not in {trace_id(GIVEN), trace_id(OTHER)}
