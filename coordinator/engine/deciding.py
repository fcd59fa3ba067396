"""From arrivals to a draft: load the sagas, ask the machine, and give every arrival its verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import msgspec
import structlog

from coordinator.engine.cache import ActiveSaga, SagaCache, from_row
from coordinator.engine.clock import DatabaseClock, new_saga_id
from coordinator.engine.draft import Draft
from coordinator.engine.flow import Flow
from coordinator.engine.letters import TRANSIENT, Crowds, dead_record, reference_of
from coordinator.engine.messages import CommandBuilder, refusal_id
from coordinator.engine.ownership import Ownership
from coordinator.engine.ports import Chance, Clock, Store
from coordinator.engine.reading import (
    Arrival,
    ReplyArrival,
    StartArrival,
    TouchArrival,
    event_of,
)
from coordinator.engine.registry import Registry, check_start_at
from coordinator.engine.topology import Topology
from coordinator.engine.tracing import reply_span, start_span
from coordinator.errors import InvalidInput, Unavailable
from coordinator.kafka.records import Outgoing
from coordinator.observability.traceparent import is_sampled
from coordinator.observability.tracing import Tracing
from coordinator.saga import machine
from coordinator.saga.definition import RECOVERY, Retry
from coordinator.saga.effects import Moved, Verdict
from coordinator.store.batch import Token
from coordinator.wire.cloudevents import event_headers
from coordinator.wire.messages import StartRefused
from coordinator.wire.strict_json import encode

log = structlog.get_logger()

SAMPLE_EVERY_S = 1.0  # of records for sagas that nobody knows

_ABOUT_A_SAGA = frozenset({ReplyArrival, TouchArrival})
_POSITION = {verdict: position for position, verdict in enumerate(Verdict)}


class Decided(msgspec.Struct, frozen=True):
    """A draft that is ready to be written, and what came of the arrivals.

    `verdicts` counts (verdict, reason word) pairs; `loaded` are sagas that were read for it; `reaches` says per
    partition up to where the arrivals go and how many got which verdict; `held`: flow control held some step back.
    """

    draft: Draft
    verdicts: dict[tuple[str, str], int]
    loaded: list[ActiveSaga]
    reaches: list[tuple[int, int, list[int]]]
    held: bool = False


class Decider:
    """Decides about arrivals; holds nothing between batches but the time of its last sample."""

    def __init__(
        self,
        store: Store,
        cache: SagaCache,
        registry: Registry,
        topology: Topology,
        clock: Clock,
        now: DatabaseClock,
        chance: Chance,
        ownership: Ownership,
        flow: Flow,
        recovery: Retry = RECOVERY,
        tracing: Tracing | None = None,
    ) -> None:
        self.store = store
        self.cache = cache
        self.registry = registry
        self.topology = topology
        self.commands = CommandBuilder(topology, tracing)
        self.tracing = tracing
        self.clock = clock
        self.now = now
        self.chance = chance
        self.ownership = ownership
        self.recovery = recovery
        self.flow = flow
        self._sampled_at = -SAMPLE_EVERY_S

    async def decide(self, arrivals: Sequence[Arrival]) -> Decided:
        """Judge arrivals in their order; raises Unavailable when what they need cannot be read."""
        for arrival in arrivals:
            if type(arrival) is TouchArrival:
                self.cache.evict(arrival.saga_id)
        self.flow.heard([arrival.source for arrival in arrivals if type(arrival) is ReplyArrival], self.now.now_ms())
        loaded, strangers = await self.load(saga_ids(arrivals))
        taken = await self._taken_keys(arrivals)
        refusals = self.flow.refusals
        judge = _Judge(self, loaded, strangers, dict(taken))
        for arrival in arrivals:
            judge.judge(arrival)
        try:
            newer = await self._newer(judge.doubted) if judge.doubted else {}
        except Unavailable:
            self.flow.give_back(judge.draft.taken)
            raise
        if newer:
            self.flow.give_back(judge.draft.taken)
            loaded |= newer
            judge = _Judge(self, loaded, strangers, dict(taken))
            for arrival in arrivals:
                judge.judge(arrival)
        held = self.flow.refusals > refusals
        return Decided(judge.draft, judge.verdicts, list(loaded.values()), judge.reaches(), held)

    async def _newer(self, doubted: set[str]) -> dict[str, ActiveSaga]:
        """Those sagas of which Postgres knows more than memory: somebody else has moved them.

        A transition on an old copy is refused by the row's version; a verdict that changes nothing meets no such
        guard, so "too late" is believed only of a copy that is not itself too old.
        """
        newer: dict[str, ActiveSaga] = {}
        for row in await self.store.load(sorted(doubted)):
            known = self.cache.get(row.id)
            active = from_row(row, self.registry)
            if active is not None and (known is None or known.saga.version < row.version):
                self.cache.evict(row.id)
                newer[row.id] = active
        return newer

    async def load(self, wanted: Iterable[str]) -> tuple[dict[str, ActiveSaga], set[str]]:
        """Read sagas that are not in memory; the second answer are those of definitions unknown here."""
        missing = [saga_id for saga_id in wanted if self.cache.get(saga_id) is None]
        loaded: dict[str, ActiveSaga] = {}
        strangers: set[str] = set()
        for row in await self.store.load(missing) if missing else ():
            active = from_row(row, self.registry)
            if active is None:
                strangers.add(row.id)
            else:
                loaded[row.id] = active
                self.flow.look(active)
        return loaded, strangers

    async def _taken_keys(self, arrivals: Sequence[Arrival]) -> dict[tuple[str, str], tuple[str, bytes]]:
        keys = [
            (arrival.definition.name, arrival.business_key) for arrival in arrivals if type(arrival) is StartArrival
        ]
        taken = await self.store.taken_keys(keys) if keys else []
        return {(key.definition, key.business_key): (key.saga_id, key.input_hash) for key in taken}

    def may_sample(self) -> bool:
        """Whether a record for an unknown saga should be kept as an example, now and then."""
        now = self.clock.monotonic()
        if now - self._sampled_at < SAMPLE_EVERY_S:
            return False
        self._sampled_at = now
        return True


class _Judge:
    """One pass over one batch."""

    def __init__(
        self,
        decider: Decider,
        loaded: dict[str, ActiveSaga],
        strangers: set[str],
        taken: dict[tuple[str, str], tuple[str, bytes]],
    ) -> None:
        self._d = decider
        self._loaded = loaded
        self._strangers = strangers
        self._taken = taken
        self._counts: dict[int, list[int]] = {}
        self._next: dict[int, int] = {}
        self._crowds = Crowds()
        self._now_ms = decider.now.now_ms()
        self._held = decider.flow.holding(self._now_ms)
        self.draft = Draft(decider.commands)
        self.doubted: set[str] = set()
        self.verdicts: dict[tuple[str, str], int] = {}

    def judge(self, arrival: Arrival) -> None:
        """Give one arrival its verdict."""
        if isinstance(arrival, ReplyArrival):
            verdict, reason = self._reply(arrival)
        elif isinstance(arrival, StartArrival):
            verdict, reason = self._start(arrival)
        elif isinstance(arrival, TouchArrival):
            verdict, reason = Verdict.APPLIED, "touched"
        else:
            verdict, reason = self._set_aside(arrival, arrival.reason, arrival.detail), arrival.reason
        self._next[arrival.part] = arrival.next_offset
        counts = self._counts.get(arrival.part)
        if counts is None:
            counts = self._counts[arrival.part] = [0, 0, 0, 0, 0]
        counts[_POSITION[verdict]] += 1
        key = (verdict, reason)
        self.verdicts[key] = self.verdicts.get(key, 0) + 1

    def reaches(self) -> list[tuple[int, int, list[int]]]:
        """Every arrival has its verdict: up to where each partition is judged, and the counts of its verdicts."""
        for crowd in self._crowds.rows():
            self._write_dead(crowd, crowd.reason, crowd.detail)
        return [(part, self._next[part], self._counts[part]) for part in sorted(self._next)]

    def _reply(self, arrival: ReplyArrival) -> tuple[Verdict, str]:
        active = self._loaded.get(arrival.saga_id) or self._d.cache.get(arrival.saga_id)
        if active is None:
            return self._unknown(arrival)
        roll = self._d.chance.roll()
        try:
            event = event_of(arrival, active.definition)
            before = self.draft.current(active)
            decision = machine.decide(active.definition, before, event, now_ms=self._now_ms, roll=roll, held=self._held)
        except Exception as error:
            log.exception("decision_failed", saga_id=arrival.saga_id, offset=arrival.offset)
            return self._set_aside(arrival, "internal", repr(error)), "internal"
        if isinstance(decision, Moved):
            self.draft.move(active, before, event, decision, self._now_ms, roll, holding=bool(self._held))
            if self._d.tracing is not None:
                span = reply_span(self._d.tracing, active, arrival, self._d.topology.replies)
                self.draft.spans += [] if span is None else [span]
            if self._held:
                self.draft.taken += self._d.flow.moved(active, decision)
            return decision.verdict, decision.reason.partition(":")[0]
        if decision.verdict is Verdict.STALE and arrival.saga_id not in self._loaded:
            self.doubted.add(arrival.saga_id)
        if decision.reason.startswith(("conflicting_reply", "not_owner")):
            log.warning(
                "reply_disbelieved", saga_id=active.id, reason=decision.reason, source=arrival.source, alert=True
            )
        return decision.verdict, decision.reason.partition(":")[0]

    def _unknown(self, arrival: ReplyArrival) -> tuple[Verdict, str]:
        if arrival.saga_id in self._strangers:
            detail = "the definition of this saga is not known to this coordinator"
            return self._set_aside(arrival, "definition_unknown", detail), "definition_unknown"
        # The letter is closed until it is set aside again.
        if reference_of(arrival.record) is not None or self._d.may_sample():
            self._set_aside(arrival, "unknown_saga", "no saga has this id; one record per second is kept")
        return Verdict.FOREIGN, "unknown_saga"

    def _start(self, arrival: StartArrival) -> tuple[Verdict, str]:
        key = (arrival.definition.name, arrival.business_key)
        winner = self._taken.get(key)
        if arrival.start_at_ms is not None:
            try:
                check_start_at(arrival.start_at_ms, self._now_ms)
            except InvalidInput as error:
                return self._set_aside(arrival, "schema", f"{error.pointer[1:]}: {error}"), "schema"
        if winner is not None:
            if winner[1] == arrival.input_hash:
                return Verdict.DUPLICATE, "started"
            self._refuse_start(arrival, winner[0])
            return Verdict.STALE, "business_key_taken"
        saga_id = new_saga_id(self._now_ms, self._d.chance)
        try:
            moved = machine.begin(
                arrival.definition,
                saga_id,
                now_ms=self._now_ms,
                input_=arrival.input,
                start_at_ms=arrival.start_at_ms,
                held=self._held,
            )
        except Exception as error:
            log.exception("start_failed", definition=arrival.definition.name, offset=arrival.offset)
            return self._set_aside(arrival, "internal", repr(error)), "internal"
        active = ActiveSaga(
            moved.saga,
            arrival.definition,
            self._d.registry.id_of(arrival.definition),
            arrival.part,
            arrival.business_key,
            arrival.traceparent,
            arrival.input,
            self._now_ms,
        )
        if self._d.tracing is not None:
            self._trace(self._d.tracing, active, arrival)
        self.draft.begin(active, moved, arrival.input_hash, self._now_ms, holding=bool(self._held))
        if self._held:
            self.draft.taken += self._d.flow.moved(active, moved)
        self._taken[key] = (saga_id, arrival.input_hash)
        return Verdict.APPLIED, "started"

    def _trace(self, tracing: Tracing, active: ActiveSaga, arrival: StartArrival) -> None:
        """Let the saga's trace go through the taking in of the request."""
        active.traceparent = context = tracing.context(arrival.traceparent)
        if is_sampled(context):
            self.draft.spans.append(start_span(context, active, arrival, self._d.topology.replies))

    def _refuse_start(self, arrival: StartArrival, winner: str) -> None:
        topology = self._d.topology
        name = arrival.definition.name
        body = encode(StartRefused(name, arrival.business_key, "the business key has another input", winner))
        token = Token(new_saga_id(self._now_ms, self._d.chance), 0, 0)
        identity = refusal_id(token.saga_id)
        partition = topology.partition(topology.events, arrival.part)
        self.draft.batch.send(
            token,
            arrival.part,
            topology.events,
            partition,
            StartRefused.ce_type,
            arrival.traceparent,
            body,
        )
        headers = event_headers(StartRefused.ce_type, identity, token.saga_id, self._now_ms, arrival.traceparent)
        self.draft.records.append(Outgoing(topology.events, partition, token.saga_id.encode(), body, headers, token))

    def _set_aside(self, arrival: Arrival, reason: str, detail: str) -> Verdict:
        if not self._crowds.take(arrival, reason):
            self._write_dead(arrival, reason, detail)
        return Verdict.QUARANTINED

    def _write_dead(self, arrival: Arrival, reason: str, detail: str) -> None:
        d = self._d
        roll = d.chance.roll()
        letter = dead_record(arrival, reason, detail, d.ownership.cluster_id, d.topology.replies, d.recovery, roll)
        self.draft.batch.set_aside_record(letter)
        if letter.letter_id is not None and letter.pause_ms is None and reason in TRANSIENT:
            log.error("dead_letter_given_up", letter_id=letter.letter_id, tries=letter.try_, reason=reason, alert=True)
        log.warning(
            "record_set_aside",
            partition=arrival.part,
            offset=arrival.offset,
            reason=reason,
            detail=detail[:200],
        )


def saga_ids(arrivals: Sequence[Arrival]) -> list[str]:
    """The sagas that arrivals are about, each once."""
    about = (arrival for arrival in arrivals if type(arrival) in _ABOUT_A_SAGA)
    return list({cast("ReplyArrival", arrival).saga_id: None for arrival in about})
