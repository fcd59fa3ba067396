"""One reader of the log for everybody who listens: it asks Postgres once, and hands out what it found.

Nobody listens: nothing is asked. Somebody is slow: what waits for them is bounded, and beyond it they are let go; they
come again and say where they were. The engine knows nothing of any of this.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from coordinator.engine.ports import Clock
from coordinator.errors import CallerError, Unavailable
from coordinator.store.tailing import Entry, LogTail, Place

log = structlog.get_logger()

PAGE: Final = 1_000  # entries at a time; with the pause after a full one this bounds what reading can cost
AGAIN_S: Final = 0.1
BYTES_PER_S: Final = 32 * 1024 * 1024  # to all listeners together; this bounds what writing can cost
SLICE_US: Final = 10_000_000  # of the log per question
LAG_MAX_US: Final = 60_000_000  # beyond it what was missed is passed over, and said to be
SUMMARIZE_S: Final = 1.0
WAITING_BYTES_MAX: Final = 1024 * 1024  # for one listener
HISTORIES_MAX: Final = 4  # that are asked for at a time: so many questions, and no more, are before the tail's own
NARROW_MAX: Final = 1_000  # sagas or definitions that are named to Postgres; beyond it all are read


class StreamSettings(Protocol):
    """How many may listen, and how often the log is asked."""

    @property
    def clients_max(self) -> int: ...  # noqa: D102
    @property
    def clients_per_actor_max(self) -> int: ...  # noqa: D102
    @property
    def poll_seconds(self) -> float: ...  # noqa: D102


class TooManyStreams(CallerError):
    """There are as many streams as are allowed: here, or of whoever asks."""

    status_code = 429
    kind = "too-many-streams"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.headers = {"retry-after": "10"}


class Wanted(msgspec.Struct, frozen=True):
    """Which entries a listener wants; None means any."""

    saga_id: str | None = None
    definitions: frozenset[str] | None = None
    statuses: frozenset[str] | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is wanted."""
        return (
            (self.saga_id is None or entry.place.saga_id == self.saga_id)
            and (self.definitions is None or entry.definition in self.definitions)
            and (self.statuses is None or entry.status in self.statuses)
        )


class Chunk(msgspec.Struct, frozen=True):
    """Entries, how each is written, and all of that together; `passed_over` are the bounds of what will not come."""

    entries: Sequence[Entry] = ()
    written: Sequence[bytes] = ()
    data: bytes = b""
    passed_over: tuple[Place, Place] | None = None


class Subscription:
    """A listener's queue: bounded, and never waited for. `start` is the place behind which it gets everything."""

    def __init__(self, wanted: Wanted, actor: str, start: Place) -> None:
        self.wanted = wanted
        self.actor = actor
        self.start = start
        self.closed = False
        self.overrun = False
        self.on_close: Callable[[], None] | None = None
        self._waiting: deque[Chunk] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()

    def push(self, chunk: Chunk) -> None:
        """Add what was found; a listener for whom too much waits already is let go."""
        if self._bytes + len(chunk.data) > WAITING_BYTES_MAX and self._waiting:
            self.overrun = True
            self.close()
            return
        self._waiting.append(chunk)
        self._bytes += len(chunk.data)
        self._woken.set()

    def close(self) -> None:
        """Let the listener go; what it had not taken, it does not get."""
        self.closed = True
        self._waiting.clear()
        self._bytes = 0
        self._woken.set()
        if self.on_close is not None:
            self.on_close()

    async def next(self, timeout_s: float) -> Chunk | None:
        """Wait for what comes next; None when nothing did, or when the listener is let go."""
        if not self._waiting and not self.closed:
            self._woken.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._woken.wait()
            except TimeoutError:
                return None
        if not self._waiting:
            return None
        chunk = self._waiting.popleft()
        self._bytes -= len(chunk.data)
        return chunk


class Tail:
    """Follows the log while anybody listens; `write` says how an entry is written, once for all."""

    def __init__(
        self, entries: LogTail, clock: Clock, settings: StreamSettings, write: Callable[[Entry], bytes]
    ) -> None:
        self._log = entries
        self._clock = clock
        self._settings = settings
        self._write = write
        self._place = Place(0)
        self._listening: dict[Wanted, set[Subscription]] = {}
        self._counts: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._histories = asyncio.Semaphore(HISTORIES_MAX)
        self._joined = False
        self._stopped = False
        self._summarized_at = 0.0
        self._handed_out = 0

    @property
    def listeners(self) -> int:
        """How many listen."""
        return self._counts.total()

    async def subscribe(self, wanted: Wanted, actor: str) -> Subscription:
        """Listen from now on; raises TooManyStreams, Unavailable."""
        async with self._opening:
            self._check_room(actor)
            if self._task is None:
                self._place = await self._log.horizon()
                # In no request's context: it would lend its id to every line of the log.
                self._task = asyncio.create_task(self._follow(), name="tail", context=contextvars.Context())
            subscription = Subscription(wanted, actor, self._place)
            self._listening.setdefault(wanted, set()).add(subscription)
            self._counts[actor] += 1
            self._joined = True
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Listen no longer."""
        subscription.on_close = None
        subscription.close()
        group = self._listening.get(subscription.wanted, set())
        if subscription in group:
            group.discard(subscription)
            self._counts[subscription.actor] -= 1
            self._counts += Counter()  # forgets those that have none
            if not group:
                del self._listening[subscription.wanted]

    def stop(self) -> None:
        """Let everybody go."""
        self._stopped = True
        for subscription in list(self._subscriptions()):
            subscription.close()

    async def history(self, wanted: Wanted, after: Place, upto: Place) -> AsyncIterator[Chunk]:
        """Read what happened behind one place and up to another, in pages; raises Unavailable."""
        while after < upto:
            before = min(Place(after.at_us + SLICE_US), Place(upto.at_us + 1))
            async with self._histories:
                page = await self._log.between(after, before, PAGE, *_narrow([wanted]))
            chosen = [entry for entry in page if wanted.takes(entry) and entry.place <= upto]
            after = page[-1].place if len(page) == PAGE else before
            if chosen:
                yield _chunk(chosen, [self._write(entry) for entry in chosen])

    # ------------------------------------------------------------ following

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                more = await self._step()
                failures = 0
            except Unavailable as error:
                more = False
                failures += 1
                if failures == 1:
                    log.warning("tail_waits", reason=str(error))
            except Exception:
                log.exception("tail_failed", alert=True)
                more = False
            if self._stopped or not self._listening:
                async with self._opening:  # nobody begins to listen meanwhile
                    if self._stopped or not self._listening:
                        self._task = None
                        await self._log.close()
                        return
            pause_s = AGAIN_S if more else self._settings.poll_seconds
            await self._clock.sleep(max(pause_s, self._handed_out / BYTES_PER_S))
            self._handed_out = 0

    async def _step(self) -> bool:
        """Hand out one page; answers whether there is more already."""
        if time.monotonic() - self._summarized_at > SUMMARIZE_S:
            await self._log.summarize()
            self._summarized_at = time.monotonic()
        horizon = await self._log.horizon()
        behind_us = horizon.at_us - self._place.at_us
        if behind_us <= 0:
            return False
        if behind_us > LAG_MAX_US:
            self._pass_over(horizon)
            return False
        self._joined = False
        before = min(horizon, Place(self._place.at_us + SLICE_US))
        entries = await self._log.between(self._place, before, PAGE, *_narrow(self._listening))
        if self._joined:
            return True  # whoever came meanwhile may want what was not asked for: ask again
        is_full = len(entries) == PAGE
        self._place = entries[-1].place if is_full else before
        self._hand_out(entries)
        return is_full or before < horizon

    def _hand_out(self, entries: Sequence[Entry]) -> None:
        written: dict[Place, bytes] = {}
        of_saga: dict[str, list[Entry]] = {}
        for entry in entries:
            of_saga.setdefault(entry.place.saga_id, []).append(entry)
        for wanted, group in list(self._listening.items()):
            asked = entries if wanted.saga_id is None else of_saga.get(wanted.saga_id, ())
            chosen = [entry for entry in asked if wanted.takes(entry)]
            if not chosen:
                continue
            for entry in chosen:
                if entry.place not in written:
                    written[entry.place] = self._write(entry)
            chunk = _chunk(chosen, [written[entry.place] for entry in chosen])
            for subscription in group:
                if not subscription.closed:
                    self._handed_out += len(chunk.data)
                    subscription.push(chunk)

    def _pass_over(self, horizon: Place) -> None:
        """Whoever listens is too far behind to be worth following step by step."""
        log.warning("tail_passed_over", seconds=(horizon.at_us - self._place.at_us) // 1_000_000)
        chunk = Chunk(passed_over=(self._place, horizon))
        self._place = horizon
        for subscription in self._subscriptions():
            if not subscription.closed:
                subscription.push(chunk)

    def _subscriptions(self) -> Iterable[Subscription]:
        return (subscription for group in self._listening.values() for subscription in group)

    def _check_room(self, actor: str) -> None:
        if self._stopped:
            raise Unavailable("this process is stopping")
        if self.listeners >= self._settings.clients_max:
            raise TooManyStreams(f"this process serves {self._settings.clients_max} streams at a time")
        if self._counts[actor] >= self._settings.clients_per_actor_max:
            raise TooManyStreams(f"you have {self._settings.clients_per_actor_max} streams open already")


def _chunk(entries: Sequence[Entry], written: Sequence[bytes]) -> Chunk:
    return Chunk(entries, written, b"".join(written))


def _narrow(wanted: Iterable[Wanted]) -> tuple[list[str] | None, list[str] | None]:
    """Which sagas and definitions are enough for all of these; None where that is any."""
    saga_ids: set[str] | None = set()
    definitions: set[str] | None = set()
    for each in wanted:
        saga_ids = None if saga_ids is None or each.saga_id is None else saga_ids | {each.saga_id}
        definitions = None if definitions is None or each.definitions is None else definitions | each.definitions
    return tuple(  # type: ignore[return-value]
        None if found is None or len(found) > NARROW_MAX else sorted(found) for found in (saga_ids, definitions)
    )
