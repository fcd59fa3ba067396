"""Keeps what was refused in the audit, whose acts are written by the statements that do them (docs/adr/0023).

Refusals of the same are told as one entry with their number, one at most every ten seconds; where somebody is refused
one thing in very many ways these are told together. All of them take a bounded room and a bounded share of the
database's time. Whoever tells of one waits for its entry, but not long.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Sequence

import msgspec
import structlog

from coordinator.engine.ports import Clock
from coordinator.errors import Unavailable
from coordinator.observability.acts import say_act
from coordinator.store.postgres import PostgresStore, Unacceptable

log = structlog.get_logger()

WAIT_S = 1.0  # for an entry to be written
QUIET_S = 10.0  # between two entries of the same
ENTRY_S = 0.01  # of pause for each entry: at most a hundred a second
RETRY_S = 1.0
BATCH_MAX = 100
KINDS_MAX = 1_000  # that are told apart at a time
TEXT_MAX = 500
WAYS_MAX = 200  # in which somebody is refused one thing, told apart in ten seconds
WAYS_OF_STRANGERS_MAX = 20
NOBODY = "nobody"  # who strangers are
SEVERAL = "several"  # who, or what, when there are too many to tell apart
TOO_MANY = "more was refused than could be told apart"
_READ = ("GET ", "HEAD ")
_SAGA_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


class _Kind(msgspec.Struct, frozen=True):
    """What makes refusals the same."""

    actor: str
    action: str
    reason: str
    status: int
    saga_id: str | None


class _Untold:
    """Refusals of a kind that have no entry yet; `written` is done when they have."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.times = 0
        self.written = asyncio.Event()


class Auditing:
    """Notes refusals; `run` writes them."""

    def __init__(self, store: PostgresStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._untold: dict[_Kind, _Untold] = {}
        self._told: dict[_Kind, float] = {}  # when a kind had its last entry, of the last ten seconds
        self._ways: Counter[tuple[str, str, int]] = Counter()  # of either, by who, what and status
        self._something = asyncio.Event()

    async def refused(
        self, actor: str, action: str, reason: str, status: int, request_id: str, saga_id: str | None = None
    ) -> None:
        """Note a refusal; `action` is the method and the template of the path.

        One of something that would write is waited for, for a second, unless the same was told of just now; one of a
        mere question never is.
        """
        kind = _Kind(_plain(actor), _plain(action), _plain(reason), status, _id(saga_id))
        kind, untold = self._note(kind, _plain(request_id))
        if action.startswith(_READ) or self._is_quiet(kind):
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(untold.written.wait(), WAIT_S)

    async def run(self, stopping: asyncio.Event) -> None:
        """Write what is noted until `stopping`; then what is left, if the database takes it at once."""
        while not stopping.is_set():
            written = await self._write(self._due())
            await self._rest(stopping, RETRY_S if written is None else ENTRY_S * written)
            if not self._due():
                await self._idle(stopping)
        while left := list(self._untold)[:BATCH_MAX]:
            if await self._write(left) is None:
                return

    def _note(self, kind: _Kind, request_id: str) -> tuple[_Kind, _Untold]:
        if kind not in self._untold and kind not in self._told:
            if self._ways[_rough(kind)] >= (WAYS_OF_STRANGERS_MAX if kind.actor == NOBODY else WAYS_MAX):
                kind = msgspec.structs.replace(kind, reason=TOO_MANY, saga_id=None)
            else:
                self._ways[_rough(kind)] += 1
        if kind not in self._untold and len(self._untold) >= KINDS_MAX:
            kind = _Kind(SEVERAL, SEVERAL, TOO_MANY, kind.status, None)
        untold = self._untold.setdefault(kind, _Untold(request_id))
        untold.times += 1
        self._something.set()
        return kind, untold

    def _is_quiet(self, kind: _Kind) -> bool:
        return self._clock.monotonic() - self._told.get(kind, -QUIET_S) < QUIET_S

    def _due(self) -> list[_Kind]:
        return [kind for kind in self._untold if not self._is_quiet(kind)][:BATCH_MAX]

    async def _write(self, kinds: Sequence[_Kind]) -> int | None:
        """Give kinds their entries; answers how many, or None when the database takes none now."""
        batch = {kind: self._untold.pop(kind) for kind in kinds}
        if not batch:
            return 0
        try:
            await self._store.fetch("audit_refusals", *zip(*map(_row, batch.items()), strict=True))
        except (Unavailable, Unacceptable) as error:
            log.warning("refusals_not_recorded", reason=str(error), kinds=len(batch))
            self._take_back(batch)
            return None
        now = self._clock.monotonic()
        self._told = {kind: at for kind, at in self._told.items() if now - at < QUIET_S} | dict.fromkeys(batch, now)
        self._ways = Counter(map(_rough, {*self._told, *self._untold}))
        for kind, untold in batch.items():
            untold.written.set()
            _say(kind, untold)
        return len(batch)

    def _take_back(self, batch: dict[_Kind, _Untold]) -> None:
        for kind, untold in batch.items():
            newer = self._untold.get(kind)
            if newer is not None:
                untold.times += newer.times
            self._untold[kind] = untold

    async def _idle(self, stopping: asyncio.Event) -> None:
        """Wait for something to write; look now and then whether what was quiet is due."""
        self._something.clear()
        waits = [asyncio.create_task(event.wait()) for event in (stopping, self._something)]
        await asyncio.wait(waits, timeout=QUIET_S / 10, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def _rest(self, stopping: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)


def _row(entry: tuple[_Kind, _Untold]) -> tuple[str, str, str | None, str | None, str, str, int, int]:
    kind, untold = entry
    subject = f"request:{kind.action}" if kind.saga_id is None else None
    return kind.actor, kind.action, kind.saga_id, subject, kind.reason, untold.request_id, kind.status, untold.times


def _rough(kind: _Kind) -> tuple[str, str, int]:
    return kind.actor, kind.action, kind.status


def _say(kind: _Kind, untold: _Untold) -> None:
    say_act(
        actor=kind.actor,
        action=kind.action,
        reason=kind.reason,
        request_id=untold.request_id,
        outcome="refused",
        saga_id=kind.saga_id,
        status=kind.status,
        times=untold.times,
    )


def _id(saga_id: str | None) -> str | None:
    return saga_id if saga_id is not None and _SAGA_ID.fullmatch(saga_id) else None


def _plain(text: str) -> str:
    """A text that any reader can show, and Postgres can keep."""
    return "".join(character if character.isprintable() else "?" for character in text[:TEXT_MAX])
