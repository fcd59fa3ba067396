"""Which fault hits which command, without Kafka and Postgres."""

from __future__ import annotations

import pytest

from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import Command, Compensation
from participants.kit.faults import Fault, Faults, disturb, faulty_outcome
from participants.kit.outcomes import Refused, Retry
from participants.kit.replies import Outgoing, headers_from_text, headers_to_text

SAGA = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
MOMENT = "1970-01-01T00:00:01.000Z"
PAYLOAD = {"order_id": "order-1", "amount_cents": 12, "items": []}
ACTION = Command(SAGA, "T", "step", "a", 1, "action", PAYLOAD, MOMENT)
UNDO = Compensation(SAGA, "T", "step", "c", 1, "compensation", {}, MOMENT, "a", PAYLOAD, "unknown", None)


def inbound(command: Command | Compensation) -> InboundCommand:
    """Wrap a command as it comes from the topic."""
    name = "Act" if isinstance(command, Command) else "Undo"
    return InboundCommand(command, name, "id", "saga-coordinator", "replies", 0, 1_000, None)


def fault(kind: str, command: str = "*", match: str | None = None, remaining: int | None = None) -> Faults:
    """Build the faults of a batch: just one."""
    return Faults([Fault(id=1, command=command, match=match, kind=kind, remaining=remaining)])


@pytest.mark.parametrize(
    ("command", "match", "hits"),
    [
        ("*", None, True),
        ("Act", None, True),
        ("Undo", None, False),
        ("*", SAGA, True),
        ("*", "order-1", True),
        ("*", "order-2", False),
        ("*", "12", False),
    ],
)
def test_match(command: str, match: str | None, hits: bool) -> None:
    """A fault is for a command by name, and by saga id or any text at the top of the payload."""
    assert (fault("drop", command, match).use(inbound(ACTION), "drop") is not None) is hits


def test_undo_is_matched_by_the_original_payload() -> None:
    """The compensation of an order is found by the order's values."""
    assert fault("drop", match="order-1").use(inbound(UNDO), "drop") is not None


def test_count_is_kept_within_a_batch() -> None:
    """A fault for two commands hits the first two of a batch."""
    faults = fault("drop", remaining=2)
    assert [faults.use(inbound(ACTION), "drop") is not None for _ in range(4)] == [True, True, False, False]
    assert faults.used == {1: 2}


def test_directions_have_their_own_failures() -> None:
    """Actions are refused or put off, compensations fail to undo; never the other way round."""
    assert isinstance(faulty_outcome(fault("refuse"), inbound(ACTION)), Refused)
    assert isinstance(faulty_outcome(fault("retry"), inbound(ACTION)), Retry)
    assert faulty_outcome(fault("refuse"), inbound(UNDO)) is None
    assert isinstance(faulty_outcome(fault("fail_undo"), inbound(UNDO)), Retry)
    assert faulty_outcome(fault("fail_undo"), inbound(ACTION)) is None


def test_silence_beats_delay() -> None:
    """A reply that never leaves is not counted as late as well."""
    both = [Fault(id=number, command="*", match=None, kind=kind) for number, kind in ((1, "silent"), (2, "slow"))]
    faults = Faults(both)
    outgoing = Outgoing(topic="t", partition=0, key=b"k", headers=[], value=b"{}")
    assert disturb(faults, inbound(ACTION), outgoing) is False
    assert faults.used == {1: 1}


def test_headers_survive_the_outbox() -> None:
    """Headers read from the outbox are the headers that were written."""
    headers = [("ce_type", b"SagaStepCompleted"), ("ce_id", "ä:1".encode())]
    assert headers_from_text(headers_to_text(headers)) == headers
