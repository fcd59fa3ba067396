"""What an observed event changes: pure, like the machine that decides, but it commands nobody.

The saga stands at the furthest event that was seen. An event further on moves it there, whatever was skipped; one
from before is noted; one that cannot belong to the same saga contradicts and opens an incident. The same event again
is noted as a duplicate, the same *record* again (a crash before its offset was committed) changes nothing at all.
"""

from __future__ import annotations

import msgspec

from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.effects import Verdict
from coordinator.saga.model import LETTERS, TERMINAL, Facing, SagaStatus

DUPLICATES_NOTED_MAX = 20  # per event; beyond it they are counted in the metrics only
OBSERVED = "EventObserved"
OVERDUE = "next_event_overdue"
NOT_REPLAYED = "replay_refused"
CONTRADICTION = "contradicting_event"
BY_OBSERVER = "observer"


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """An event of a choreography as it was read: which, under which id, and where."""

    type: str
    ce_id: str
    place: Place


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of one type of event: the id and moment of the first one, and the place of the latest."""

    type: str
    ce_id: str
    at_ms: int
    place: Place
    times: int = 1


class KeptRecord(msgspec.Struct, frozen=True, gc=False):
    """A record byte for byte (base64 in JSON), so that it can be published again as it was."""

    place: Place
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class ObservedState(msgspec.Struct, frozen=True, gc=False):
    """The part of an observed saga that changes: what was seen, where the saga stands, and its last good event.

    `replay_owed` says that an operator has asked for `last` to be published again and that this is not done yet.
    """

    seen: tuple[Seen, ...]
    position: str
    last: KeptRecord
    deadline_ms: int | None
    facing: Facing
    replay_owed: bool = False


class ObservedSaga(msgspec.Struct, frozen=True, gc=False):
    """An observed saga at one moment; `version` counts its transitions from 1."""

    version: int
    status: SagaStatus
    state: ObservedState


class Incident(msgspec.Struct, frozen=True, gc=False):
    """A reason to ask for a person."""

    reason: str
    detail: str


class Change(msgspec.Struct, frozen=True, gc=False):
    """A transition: how the saga stands after it, and what the log and the incidents say.

    `note` is None where things went as expected. `resolved_by` closes the open incidents.
    """

    saga: ObservedSaga
    event: str
    type: str
    verdict: Verdict | None = None
    note: str | None = None
    incident: Incident | None = None
    resolved_by: str | None = None


def observe(
    definition: ChoreographyDefinition, saga: ObservedSaga | None, sighting: Sighting, kept: KeptRecord, now_ms: int
) -> Change | None:
    """Say what an event changes; None when exactly this record was taken in before.

    `saga` is None for a business key that nothing is known of: whichever event comes first begins the record.
    """
    if saga is None:
        return _begin(definition, sighting, kept, now_ms)
    before = next((seen for seen in saga.state.seen if seen.type == sighting.type), None)
    if before is not None:
        return _repeat(saga, before, sighting)
    here = saga.state.position
    seen = (*saga.state.seen, Seen(sighting.type, sighting.ce_id, now_ms, sighting.place))
    if sighting.type in definition.following[here]:
        return _advance(definition, saga, seen, sighting, kept, now_ms)
    noted = msgspec.structs.replace(saga.state, seen=seen)
    if here in definition.following[sighting.type]:
        return _note(saga, noted, sighting, Verdict.APPLIED, "out of order: a later event was there first")
    change = _note(saga, noted, sighting, Verdict.STALE, f"contradicts {here}, which was seen first")
    return msgspec.structs.replace(change, incident=_contradiction(definition, noted))


def pass_deadline(definition: ChoreographyDefinition, saga: ObservedSaga, now_ms: int) -> Change | None:
    """Suspend a saga whose next event is overdue; None when none is."""
    state = saga.state
    if state.deadline_ms is None or state.deadline_ms > now_ms or saga.status is SagaStatus.SUSPENDED:
        return None
    then = definition.by_type[state.position].then
    wanted = " or ".join(f"{type_} of {definition.by_type[type_].source}" for type_ in then)
    detail = f"nothing followed {state.position} in time; expected is {wanted}"
    after = msgspec.structs.replace(state, deadline_ms=None)
    suspended = ObservedSaga(saga.version + 1, SagaStatus.SUSPENDED, after)
    return Change(suspended, "DeadlinePassed", state.position, incident=Incident(OVERDUE, detail))


def request_replay(definition: ChoreographyDefinition, saga: ObservedSaga, by: str, now_ms: int) -> Change:
    """Owe the last good event of a suspended saga to its topic, at once; the saga goes on from there."""
    state = msgspec.structs.replace(saga.state, replay_owed=True, deadline_ms=now_ms)
    going_on = ObservedSaga(saga.version + 1, _going(state.facing), state)
    still_open = _contradiction(definition, state)
    return Change(going_on, "ReplayRequested", state.position, incident=still_open, resolved_by=by)


def replayed(definition: ChoreographyDefinition, saga: ObservedSaga, now_ms: int) -> Change:
    """Note that the last good event is on its topic again: the next one has all its time anew."""
    state = msgspec.structs.replace(
        saga.state, replay_owed=False, deadline_ms=_deadline_ms(definition, saga.state.position, now_ms)
    )
    return Change(ObservedSaga(saga.version + 1, saga.status, state), "EventReplayed", state.position)


def refuse_replay(saga: ObservedSaga, why: str) -> Change:
    """Suspend a saga whose last good event Kafka never takes again."""
    state = msgspec.structs.replace(saga.state, replay_owed=False, deadline_ms=None)
    suspended = ObservedSaga(saga.version + 1, SagaStatus.SUSPENDED, state)
    incident = Incident(NOT_REPLAYED, f"{state.position} cannot be published again: {why}")
    return Change(suspended, "ReplayRefused", state.position, incident=incident)


def _begin(definition: ChoreographyDefinition, sighting: Sighting, kept: KeptRecord, now_ms: int) -> Change:
    seen = (Seen(sighting.type, sighting.ce_id, now_ms, sighting.place),)
    first = definition.events[0].type
    note = None if sighting.type == first else f"out of order: {first} has not been seen"
    status, state = _stand(definition, seen, sighting, kept, now_ms)
    if status is SagaStatus.PENDING:
        status = SagaStatus.STARTED
    return Change(ObservedSaga(1, status, state), OBSERVED, sighting.type, Verdict.APPLIED, note)


def _repeat(saga: ObservedSaga, before: Seen, sighting: Sighting) -> Change | None:
    place, last = sighting.place, before.place
    if (place.topic, place.partition) == (last.topic, last.partition) and place.offset <= last.offset:
        return None
    if before.times > DUPLICATES_NOTED_MAX:
        return None
    note = None if sighting.ce_id == before.ce_id else f"under another id: {sighting.ce_id}"
    again = msgspec.structs.replace(before, place=place, times=before.times + 1)
    seen = tuple(again if each is before else each for each in saga.state.seen)
    return _note(saga, msgspec.structs.replace(saga.state, seen=seen), sighting, Verdict.DUPLICATE, note)


def _advance(
    definition: ChoreographyDefinition,
    saga: ObservedSaga,
    seen: tuple[Seen, ...],
    sighting: Sighting,
    kept: KeptRecord,
    now_ms: int,
) -> Change:
    here = saga.state.position
    note = (
        None if sighting.type in definition.by_type[here].then else f"out of order: it does not follow {here} at once"
    )
    status, state = _stand(definition, seen, sighting, kept, now_ms)
    change = Change(ObservedSaga(saga.version + 1, status, state), OBSERVED, sighting.type, Verdict.APPLIED, note)
    if saga.status is not SagaStatus.SUSPENDED:
        return change
    still_open = _contradiction(definition, state)
    return msgspec.structs.replace(change, incident=still_open, resolved_by=BY_OBSERVER)


def _stand(
    definition: ChoreographyDefinition, seen: tuple[Seen, ...], sighting: Sighting, kept: KeptRecord, now_ms: int
) -> tuple[SagaStatus, ObservedState]:
    """Let a saga stand at an event."""
    facing = definition.facing(sighting.type)
    deadline_ms = _deadline_ms(definition, sighting.type, now_ms)
    ends = definition.by_type[sighting.type].ends
    return ends or _going(facing), ObservedState(seen, sighting.type, kept, deadline_ms, facing)


def _note(saga: ObservedSaga, state: ObservedState, sighting: Sighting, verdict: Verdict, note: str | None) -> Change:
    return Change(ObservedSaga(saga.version + 1, saga.status, state), OBSERVED, sighting.type, verdict, note)


def _contradiction(definition: ChoreographyDefinition, state: ObservedState) -> Incident | None:
    """The incident of a saga that has seen what cannot belong to it; it stays open whatever comes after."""
    here = state.position
    wrong = [seen.type for seen in state.seen if not definition.are_ordered(seen.type, here)]
    if not wrong:
        return None
    return Incident(CONTRADICTION, f"{', '.join(wrong)} cannot come in the same saga as {here}")


def _going(facing: Facing) -> SagaStatus:
    return SagaStatus.PENDING if facing is Facing.FORWARD else SagaStatus.COMPENSATING


def _deadline_ms(definition: ChoreographyDefinition, type_: str, now_ms: int) -> int | None:
    within_ms = definition.by_type[type_].within_ms
    return None if within_ms is None else now_ms + within_ms


def outcome(definition: ChoreographyDefinition, saga: ObservedSaga, type_: str) -> str:
    """Say how things stand with an expected event: completed, waiting, skipped, or unknown.

    `unknown` is one that must have happened, since a later one did, but was never seen; with the end of the saga
    everything that is not on its way is skipped.
    """
    seen = [each.type for each in saga.state.seen]
    if type_ in seen:
        return "completed"
    here = saga.state.position
    if here in definition.following[type_] and all(definition.are_ordered(type_, each) for each in seen):
        return "unknown"
    ended = saga.status in TERMINAL
    return "waiting" if type_ in definition.following[here] and not ended else "skipped"


def waits_at(definition: ChoreographyDefinition, saga: ObservedSaga) -> str | None:
    """The events that are to come next, a letter for each as in Saga.waits_at; None once the saga has ended."""
    if saga.status in TERMINAL:
        return None
    then = definition.by_type[saga.state.position].then
    return "".join(letter for event, letter in zip(definition.events, LETTERS, strict=False) if event.type in then)


_DECODER = msgspec.json.Decoder(ObservedState)


def dump_observed(state: ObservedState) -> bytes:
    """Write the changing part of an observed saga as JSON text."""
    return msgspec.json.encode(state)


def load_observed(raw: bytes) -> ObservedState:
    """Read what `dump_observed` wrote; raises msgspec.ValidationError when it is something else."""
    return _DECODER.decode(raw)
