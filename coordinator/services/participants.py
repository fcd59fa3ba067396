"""How flow control stands towards each participant, as the API shows it."""

from __future__ import annotations

import msgspec

from coordinator.engine.flow import Flow, ParticipantState
from coordinator.store.reads import SagaReads
from coordinator.wire.rfc3339 import format_ms


class ParticipantView(msgspec.Struct, frozen=True):
    """One participant.

    `limit` and `held` are of the whole installation: how many actions may be in flight, null for any number, and how
    many sagas wait until the participant takes new ones. The rest is what this process knows of its own partitions,
    null where it owns none: actions `in_flight` (of sagas in its memory), the state of its breaker, `since` when and
    `why`, and when it last read a reply.
    """

    name: str
    limit: int | None
    held: int
    in_flight: int | None
    breaker: str | None
    since: str | None
    why: str | None
    last_reply_at: str | None


class ParticipantList(msgspec.Struct, frozen=True):
    """The participants of all known definitions, and the partitions of the reply topic that this process owns."""

    partitions: list[int]
    participants: list[ParticipantView]


async def list_participants(flow: Flow, reads: SagaReads) -> ParticipantList:
    """Put the list together; raises Unavailable."""
    held = await reads.held()
    owns = bool(flow.parts)
    views = [_view(state, held.get(state.name, 0), owns=owns) for state in flow.states()]
    return ParticipantList(sorted(flow.parts), views)


def _view(state: ParticipantState, held: int, *, owns: bool) -> ParticipantView:
    if not owns:
        return ParticipantView(state.name, state.limit, held, None, None, None, None, None)
    return ParticipantView(
        state.name,
        state.limit,
        held,
        state.in_flight,
        state.breaker,
        _moment(state.since_ms),
        state.why,
        _moment(state.heard_ms),
    )


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_ms(at_ms)
