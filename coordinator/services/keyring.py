"""The valid keys as a process remembers them, so that a request costs no statement.

They are read again about twice a second while requests come. What a request is judged by was read at most `TRUST_S`
before it came: whoever comes later than that after a revocation is refused by every process. Where Postgres does not
answer nobody is let in.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import structlog

from coordinator.engine.ports import Clock
from coordinator.errors import SagaError, Unavailable
from coordinator.store.keys import ValidKey

log = structlog.get_logger()

TRUST_S: Final = 1.0
EAGER_S: Final = 0.5  # keys of this age are read again beside the requests, so that none waits
STRANGER_S: Final = 0.1  # an unknown key may be a new one; strangers cost at most so many reads
PATIENCE_S: Final = 3.0
TOUCH_S: Final = 60.0


class KeptKeys(Protocol):
    """Where the keys are."""

    async def valid(self) -> tuple[bool, list[ValidKey]]: ...  # noqa: D102
    async def touch(self, key_ids: Sequence[str]) -> None: ...  # noqa: D102


class _Seen(msgspec.Struct, frozen=True):
    at: float
    made: bool
    keys: dict[str, ValidKey]


class KeyRing:
    """Finds valid keys; raises Unavailable when they cannot be known."""

    def __init__(self, kept: KeptKeys, clock: Clock) -> None:
        self._kept = kept
        self._clock = clock
        self._seen = _Seen(-math.inf, False, {})
        self._reading: asyncio.Task[None] | None = None
        self._touching: asyncio.Task[None] | None = None
        self._used: set[str] = set()
        self._touched_at = -math.inf
        self._forgotten_at = -math.inf

    async def find(self, key_id: str) -> ValidKey | None:
        """The key of an id, if it is valid."""
        seen = await self._not_older_than(TRUST_S)
        if key_id not in seen.keys:
            seen = await self._not_older_than(STRANGER_S)
        return seen.keys.get(key_id)

    async def any_made(self) -> bool:
        """Whether there ever was a key, valid or not; once there was one this is never asked again."""
        return self._seen.made or (await self._not_older_than(TRUST_S)).made

    def used(self, key_id: str) -> None:
        """Note that a key was used; it is written now and then, and nobody waits for that."""
        self._used.add(key_id)

    def forget(self) -> None:
        """Judge no further request by what was read until now: this process has just changed a key."""
        self._forgotten_at = self._clock.monotonic()

    async def _not_older_than(self, age_s: float) -> _Seen:
        now = self._clock.monotonic()
        if self._reading is None and now - self._seen.at > EAGER_S:
            self._read()
        oldest = max(now - age_s, self._forgotten_at)
        while self._seen.at < oldest:
            reading = self._reading or self._read()
            await asyncio.wait({reading}, timeout=now + PATIENCE_S - self._clock.monotonic())
            if not reading.done():
                raise Unavailable("Postgres does not say in time which keys are valid")
            reading.result()
        return self._seen

    def _read(self) -> asyncio.Task[None]:
        reading = self._reading = asyncio.create_task(self._read_once())
        reading.add_done_callback(self._was_read)
        return reading

    async def _read_once(self) -> None:
        began = self._clock.monotonic()
        made, keys = await self._kept.valid()
        self._seen = _Seen(began, made, {key.id: key for key in keys})

    def _was_read(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if reading.cancelled() or reading.exception() is not None:
            return  # whoever waits hears of it
        now = self._clock.monotonic()
        if self._used and self._touching is None and now - self._touched_at >= TOUCH_S:
            self._touched_at = now
            used, self._used = self._used, set()
            self._touching = asyncio.create_task(self._touch(used))

    async def _touch(self, used: set[str]) -> None:
        try:
            await self._kept.touch(sorted(used))
        except SagaError as error:
            log.info("key_use_not_noted", reason=str(error))
        finally:
            self._touching = None
