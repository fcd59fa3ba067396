"""Starting sagas in groups: what comes while a statement runs is written by the next one.

One statement costs about the same for one saga as for fifty, and one session runs one statement at a time. So
requests wait for each other for a moment, and the busier the process, the cheaper each start becomes.

A commit whose outcome is unknown is looked up by business key. The saga's id was chosen before, so a key that holds
our id says that it was our statement that committed.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog

from coordinator.engine.cache import ActiveSaga
from coordinator.engine.clock import DatabaseClock, new_saga_id
from coordinator.engine.draft import Draft
from coordinator.engine.flow import Flow, Taken
from coordinator.engine.messages import CommandBuilder
from coordinator.engine.observer import Observer
from coordinator.engine.ports import Chance, Clock, Store
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import InvariantError, SagaError, Unavailable
from coordinator.saga import machine
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Moved
from coordinator.services.publishing import Publishing
from coordinator.store.postgres import Committed, Contended, KeyTaken, TakenKey, Unacceptable
from coordinator.wire.murmur2 import partition_of

log = structlog.get_logger()

GROUP_MAX = 1_000  # sagas per statement, unless one request asks for more
WAITING_MAX = 20_000  # sagas that wait for their statement; beyond it a request is told to come back
TRIES_MAX = 6
GIVE_UP_S = 5.0  # of trying to reach Postgres; whoever asked wants an answer
ANSWER_S = 10.0  # then whoever asked hears that it is not known; the statement goes on
PAUSE_S = 0.1  # before another try; grows with each


class NewSaga(msgspec.Struct, frozen=True):
    """A checked request to start a saga; `input` is its JSON text."""

    definition: SagaDefinition
    business_key: str
    input: bytes
    input_hash: bytes
    traceparent: str | None
    start_at_ms: int | None = None
    labels: Mapping[str, str] = {}

    @property
    def key(self) -> tuple[str, str]:
        """What is unique: the definition's name and the business key."""
        return self.definition.name, self.business_key


class Begun(msgspec.Struct, frozen=True):
    """The request began this saga; `at_ms` is the row's created_at, 0 when that was not heard."""

    active: ActiveSaga
    at_ms: int


class Found(msgspec.Struct, frozen=True):
    """The business key was in use already, with the same input or with another."""

    saga_id: str
    same_input: bool


Outcome = Begun | Found | SagaError


class _Plan(NamedTuple):
    """How a saga begins; `taken` is the room that its first steps took."""

    active: ActiveSaga
    moved: Moved
    now_ms: int
    taken: list[Taken]


class _Item:
    """One wanted saga on its way; `plan` is what is, or may already be, written for it."""

    __slots__ = ("outcome", "plan", "wanted")

    def __init__(self, wanted: NewSaga) -> None:
        self.wanted = wanted
        self.plan: _Plan | None = None
        self.outcome: Outcome | None = None


class _Group(msgspec.Struct, frozen=True):
    """The sagas of one request, which are written by one statement."""

    items: list[_Item]
    done: asyncio.Future[list[Outcome]]


class Starter:
    """Begins sagas; one statement at a time, for all who wait."""

    def __init__(
        self,
        store: Store,
        publishing: Publishing,
        registry: Registry,
        topology: Topology,
        clock: Clock,
        now: DatabaseClock,
        chance: Chance,
        observer: Observer,
        flow: Flow,
    ) -> None:
        self._store = store
        self._publishing = publishing
        self._registry = registry
        self._topology = topology
        self._commands = CommandBuilder(topology, observer.tracing)
        self._clock = clock
        self._now = now
        self._chance = chance
        self._observer = observer
        self._flow = flow
        self._waiting: list[_Group] = []
        self._waiting_sagas = 0
        self._worker: asyncio.Task[None] | None = None

    async def start(self, wanted: Sequence[NewSaga]) -> list[Outcome]:
        """Begin sagas; answers one outcome each. Raises Unavailable when it is not known what became of them."""
        if self._waiting_sagas + len(wanted) > WAITING_MAX:
            raise Unavailable("too many starts are waiting already")
        group = _Group([_Item(each) for each in wanted], asyncio.get_running_loop().create_future())
        self._waiting.append(group)
        self._waiting_sagas += len(wanted)
        if self._worker is None:
            # For all who wait, so in no request's context: it would lend its id to the others' lines of the log.
            self._worker = asyncio.create_task(self._work(), context=contextvars.Context())
        try:
            async with asyncio.timeout(ANSWER_S):
                return await group.done
        except TimeoutError:
            raise Unavailable("Postgres has not answered in time") from None

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is being written, for so long at most."""
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=timeout_s)

    async def _work(self) -> None:
        try:
            while self._waiting:
                groups = self._take()
                try:
                    await self._begin([item for group in groups for item in group.items])
                except Exception as error:
                    if not isinstance(error, Unavailable):
                        log.exception("starts_failed", sagas=sum(len(group.items) for group in groups))
                    _answer(groups, error)
                else:
                    _answer(groups, None)
        finally:
            self._worker = None

    def _take(self) -> list[_Group]:
        """The groups that the next statement writes: at least one, and no more than fit."""
        count = sagas = 0
        for group in self._waiting:
            if count and sagas + len(group.items) > GROUP_MAX:
                break
            count += 1
            sagas += len(group.items)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_sagas -= sagas
        return taken

    async def _begin(self, items: list[_Item]) -> None:
        """Give every item its outcome."""
        give_up_at = self._clock.monotonic() + GIVE_UP_S
        for attempt in range(1, TRIES_MAX + 1):
            try:
                await self._commit(await self._look_up([item for item in items if item.outcome is None]))
            except KeyTaken:
                continue  # somebody else was faster: the next look finds their saga
            except (Contended, Unavailable) as error:
                log.info("starts_retried", attempt=attempt, sagas=len(items), reason=str(error))
                if attempt == TRIES_MAX or self._clock.monotonic() > give_up_at:
                    self._give_up([item for item in items if item.outcome is None])
                    raise Unavailable(str(error)) from error
                await self._clock.sleep(PAUSE_S * attempt * (0.5 + self._chance.roll()))
            except Unacceptable as error:
                await self._halve([item for item in items if item.outcome is None], error)
                return
            else:
                return
        raise Unavailable("these business keys are being taken by others all the time")

    def _give_up(self, items: list[_Item]) -> None:
        """What may have begun although nobody was told is counted once the log has it."""
        for item in items:
            if item.plan is not None:
                self._observer.unheard(self._draft([item]), self._now.now_ms())

    async def _look_up(self, items: list[_Item]) -> list[_Item]:
        """Settle those whose keys are taken; answers the others."""
        if not items:
            return []
        taken = {
            (key.definition, key.business_key): key
            for key in await self._store.taken_keys(list({item.wanted.key: None for item in items}))
        }
        ours: list[_Item] = []
        for item in items:
            key = taken.get(item.wanted.key)
            if key is None:
                continue
            if item.plan is not None and item.plan.active.id == key.saga_id:
                ours.append(item)
            else:
                self._drop(item)
                item.outcome = _found(key, item.wanted)
        if ours:
            # The statement whose answer we did not hear was committed after all.
            self._settle(self._draft(ours), ours, None)
        return [item for item in items if item.outcome is None]

    async def _commit(self, items: list[_Item]) -> None:
        """Write the first item of each key; the others of that key find what it began."""
        if not items:
            return
        first: dict[tuple[str, str], _Item] = {}
        followers = [item for item in items if first.setdefault(item.wanted.key, item) is not item]
        leaders = list(first.values())
        new = [item for item in leaders if item.plan is None]
        for item in new:
            item.plan = self._plan(item.wanted)
        draft = self._draft(leaders)
        try:
            began = self._observer.statement_begins()
            committed = await self._store.commit(draft.finish())
            self._observer.statement_ended(began)
        except (KeyTaken, Contended, Unacceptable):
            for item in new:  # surely not written; an older plan may be, by a statement that was not heard of
                self._drop(item)
            raise
        self._settle(draft, leaders, committed)
        for item in followers:
            leader = first[item.wanted.key]
            if isinstance(leader.outcome, Begun):
                same = leader.wanted.input_hash == item.wanted.input_hash
                item.outcome = Found(leader.outcome.active.id, same)

    def _drop(self, item: _Item) -> None:
        """Forget a plan that is not written: a later try chooses a newer id."""
        if item.plan is not None:
            self._flow.give_back(item.plan.taken)
            item.plan = None

    async def _halve(self, items: list[_Item], error: Unacceptable) -> None:
        """Postgres refuses a value of one of these: find it, so that the others begin.

        A statement that was not heard of may have landed meanwhile: then it is refused because it is there.
        """
        if len(items) == 1:
            if not await self._look_up(items):
                return
            log.error("start_unacceptable", business_key=items[0].wanted.business_key, reason=str(error))
            items[0].outcome = InvariantError("this saga cannot be written")
            return
        middle = len(items) // 2
        await self._begin(items[:middle])
        await self._begin(items[middle:])

    def _plan(self, wanted: NewSaga) -> _Plan:
        now_ms = self._now.now_ms()
        saga_id = new_saga_id(now_ms, self._chance)
        part = partition_of(saga_id.encode(), self._topology.counts[self._topology.replies])
        held = self._flow.holding_at_start(part, now_ms)
        moved = machine.begin(
            wanted.definition,
            saga_id,
            now_ms=now_ms,
            input_=wanted.input,
            start_at_ms=wanted.start_at_ms,
            held=held,
        )
        active = ActiveSaga(
            moved.saga,
            wanted.definition,
            self._registry.id_of(wanted.definition),
            part,
            wanted.business_key,
            wanted.traceparent,
            wanted.input,
            now_ms,
        )
        taken = self._flow.moved(active, moved) if held and part in self._flow.parts else []
        return _Plan(active, moved, now_ms, taken)

    def _draft(self, items: Sequence[_Item]) -> Draft:
        """What a statement writes for planned items; the same each time, so it can be published after any of them."""
        draft = Draft(self._commands)
        for item in items:
            if item.plan is not None:
                plan = item.plan
                draft.begin(plan.active, plan.moved, item.wanted.input_hash, plan.now_ms, holding=True)
                for name, value in item.wanted.labels.items():
                    draft.batch.label(plan.active.id, name, value)
        return draft

    def _settle(self, draft: Draft, items: Sequence[_Item], committed: Committed | None) -> None:
        if committed is not None:
            self._now.observe(committed.now_ms)
        now_ms = self._now.now_ms()
        self._publishing.committed(draft, now_ms)
        self._observer.committed(draft.transitions, {}, committed or Committed(now_ms, now_ms), draft.spans)
        for item in items:
            if item.plan is not None:
                item.outcome = Begun(item.plan.active, 0 if committed is None else committed.at_ms)


def _found(key: TakenKey, wanted: NewSaga) -> Found:
    return Found(key.saga_id, key.input_hash == wanted.input_hash)


def _answer(groups: Sequence[_Group], error: Exception | None) -> None:
    for group in groups:
        if group.done.done():  # whoever asked has gone
            continue
        outcomes = [item.outcome for item in group.items if item.outcome is not None]
        if len(outcomes) == len(group.items):
            group.done.set_result(outcomes)
        else:
            group.done.set_exception(error or InvariantError("a start has no outcome"))
