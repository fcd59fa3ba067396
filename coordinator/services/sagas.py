"""What clients and operators can do to sagas: start them, answer their external steps, steer them.

The process that serves a request need not own the saga's partition. It writes under the same version guard as the
owner, publishes what it committed, and sends the owner a hint (design section 7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import rfc8785
import structlog

from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.hashing import hash_input
from coordinator.engine.observer import Observer
from coordinator.engine.ports import Chance, Clock, Store
from coordinator.engine.registry import Registry, check_input, check_start_at
from coordinator.engine.relay import Relay, flush_quietly
from coordinator.engine.slots import running_deadline_ms
from coordinator.engine.topology import Topology
from coordinator.errors import Conflict, InvalidInput, SagaError, Unavailable
from coordinator.saga.events import ExternalCompleted, ExternalFailed, RetryRequested, Verb
from coordinator.services.publishing import Publishing
from coordinator.services.starting import Begun, Found, NewSaga, Outcome, Starter
from coordinator.services.verbs import Preview, Verbs
from coordinator.store.reads import SagaReads, SagaSummary
from coordinator.wire.rfc3339 import format_ms
from coordinator.wire.strict_json import encode

log = structlog.get_logger()

FLUSH_S = 0.5


class StartRequest(msgspec.Struct, frozen=True):
    """What a client asks for; `version` None means the newest, `start_at_ms` None at once.

    `labels` are no part of what makes two requests the same: those of the first one stay.
    """

    definition: str
    version: int | None
    input: dict[str, Any]
    traceparent: str | None = None
    start_at_ms: int | None = None
    labels: Mapping[str, str] = {}


class Started(msgspec.Struct, frozen=True):
    """The saga of a business key; `created` says whether this request began it."""

    saga: SagaSummary
    created: bool


class KeyConflict(Conflict):
    """The business key belongs to a saga with another input; `members` says which."""

    kind = "business-key-taken"

    def __init__(self, saga_id: str) -> None:
        super().__init__("the business key belongs to a saga that was started with another input")
        self.members = {"saga_id": saga_id}


class SagaService:
    """The verbs of the API; `run` does what must be done beside them."""

    def __init__(
        self,
        store: Store,
        reads: SagaReads,
        relay: Relay,
        registry: Registry,
        topology: Topology,
        clock: Clock,
        now: DatabaseClock,
        chance: Chance,
        observer: Observer,
        flow: Flow,
    ) -> None:
        self._store = store
        self._reads = reads
        self._relay = relay
        self._registry = registry
        self._clock = clock
        self._now = now
        self._chance = chance
        self._observer = observer
        self._flow = flow
        self._publishing = Publishing(relay, topology)
        self._starter = Starter(store, self._publishing, registry, topology, clock, now, chance, observer, flow)
        self._verbs = Verbs(store, reads, self._publishing, registry, topology, clock, now, chance, observer, flow)
        self._clock_known = False
        self._asking_time = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Delete acknowledged messages, follow the database's clock and the queues until `stop`; then finish."""
        while not stop.is_set():
            await flush_quietly(self._relay)
            try:
                await self._observer.settle_doubts(self._store)
                self._now.observe(await self._store.now_ms())
                self._clock_known = True
                self._flow.queued = frozenset(await self._store.queues(self._registry.participants))
            except Unavailable as error:
                log.info("clock_not_read", reason=str(error))
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait([waiting], timeout=FLUSH_S)
            waiting.cancel()
        await self._starter.drain(FLUSH_S * 10)
        await self._relay.drain(FLUSH_S * 10)
        await flush_quietly(self._relay)

    async def start(self, request: StartRequest) -> Started:
        """Start a saga, or find the one that the same request started before.

        Raises InvalidInput, KeyConflict, Unavailable (whether the saga began is not known: ask again).
        """
        await self._know_the_time()
        [outcome] = await self._starter.start([self._check(request)])
        [answer] = await self._answers([outcome])
        if isinstance(answer, SagaError):
            raise answer
        return answer

    async def start_many(self, requests: Sequence[StartRequest | SagaError]) -> list[Started | SagaError]:
        """Start sagas with one statement; answers one outcome each, in their order. Raises Unavailable.

        A request that is an error already is answered with itself.
        """
        await self._know_the_time()
        answers: list[Started | SagaError | None] = [None] * len(requests)
        places: list[int] = []
        wanted: list[NewSaga] = []
        for place, request in enumerate(requests):
            try:
                if isinstance(request, SagaError):
                    raise request
                wanted.append(self._check(request))
                places.append(place)
            except SagaError as error:
                answers[place] = error
        if wanted:
            outcomes = await self._starter.start(wanted)
            for place, answer in zip(places, await self._answers(outcomes), strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]

    async def retry(
        self, saga_id: str, expected_version: int, actor: str, reason: str, request_id: str = ""
    ) -> SagaSummary:
        """Let a suspended saga go on; answers how it stands now. Raises what `act` raises."""
        return await self.act(saga_id, expected_version, RetryRequested(actor, reason), request_id)

    async def act(
        self, saga_id: str, expected_version: int, verb: Verb, request_id: str = "", *, again: bool = False
    ) -> SagaSummary:
        """Do what an operator wants of a saga; answers how it stands then. `again`: this request may have done it.

        Raises NotFound, VerbRefused (not possible as the saga stands), VerbStale (not at that version), Unavailable.
        """
        await self._know_the_time()
        return await self._verbs.act(saga_id, expected_version, verb, request_id, again=again)

    async def preview(self, saga_id: str, verb: Verb) -> Preview:
        """Say what an operator's verb would do now, and do nothing. Raises NotFound, VerbRefused, Unavailable."""
        await self._know_the_time()
        return await self._verbs.preview(saga_id, verb)

    async def possible(self, saga_id: str) -> list[str]:
        """The verbs that a saga allows now, some for some of its steps only; raises NotFound, Unavailable."""
        await self._know_the_time()
        return await self._verbs.possible(saga_id)

    async def answer(
        self, saga_id: str, answer: ExternalCompleted | ExternalFailed, request_id: str = ""
    ) -> SagaSummary:
        """Take an answer to an external step; answers how the saga stands then.

        Raises NotFound, InvalidInput (the result does not fit), VerbRefused (no such step waits for one), Unavailable.
        """
        await self._know_the_time()
        return await self._verbs.answer(saga_id, answer, request_id)

    # ------------------------------------------------------------ starting

    def _check(self, request: StartRequest) -> NewSaga:
        definition = self._registry.choose(request.definition, request.version)
        raw = encode(request.input)
        business_key = check_input(definition, raw)
        try:
            input_hash = hash_input(request.input)
        except rfc8785.CanonicalizationError:
            raise InvalidInput("an integer of the input is beyond 2**53: not every reader keeps it", "/input") from None
        if request.start_at_ms is not None:
            check_start_at(request.start_at_ms, self._now.now_ms())
        return NewSaga(
            definition, business_key, raw, input_hash, request.traceparent, request.start_at_ms, request.labels
        )

    async def _answers(self, outcomes: Sequence[Outcome]) -> list[Started | SagaError]:
        """Say what came of starts, with how the sagas stand."""
        unheard = [
            outcome.saga_id if isinstance(outcome, Found) else outcome.active.id
            for outcome in outcomes
            if (isinstance(outcome, Found) and outcome.same_input) or (isinstance(outcome, Begun) and not outcome.at_ms)
        ]
        known = await self._reads.summaries(unheard) if unheard else {}
        return [self._answer(outcome, known) for outcome in outcomes]

    def _answer(self, outcome: Outcome, known: dict[str, SagaSummary]) -> Started | SagaError:
        if isinstance(outcome, SagaError):
            return outcome
        if isinstance(outcome, Begun):
            return Started(known.get(outcome.active.id) or _begun(outcome), created=True)
        if not outcome.same_input:
            return KeyConflict(outcome.saga_id)
        saga = known.get(outcome.saga_id)
        if saga is None:
            return Conflict("the saga of this business key has been archived")
        return Started(saga, created=False)

    async def _know_the_time(self) -> None:
        if self._clock_known:
            return
        async with self._asking_time:
            if not self._clock_known:
                self._now.observe(await self._store.now_ms())
                self._clock_known = True


def _begun(outcome: Begun) -> SagaSummary:
    active = outcome.active
    saga = active.saga
    at = format_ms(outcome.at_ms or active.started_ms)
    deadline_ms = running_deadline_ms(saga)
    return SagaSummary(
        saga.id,
        saga.definition,
        saga.definition_version,
        active.business_key,
        saga.status,
        saga.version,
        at,
        at,
        None if deadline_ms is None else format_ms(deadline_ms),
    )
