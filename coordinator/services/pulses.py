"""What an engine process knows of participants, written down every few seconds so that any process can add it up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import msgspec
import structlog

from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.pulse import Recent
from coordinator.errors import Unavailable
from coordinator.store.postgres import PostgresStore

log = structlog.get_logger()

PAUSE_S: Final = 5.0
LIVE_S: Final = 20  # what was not written for so long does not count


class Seen(msgspec.Struct, frozen=True):
    """What one process knows of a participant, of its own partitions; moments are milliseconds."""

    partitions: int
    in_flight: int
    breaker: str
    since_ms: int | None
    why: str | None
    heard_ms: int | None
    recent: Recent


class Pulses:
    """Writes it down; one of these per engine process, which `process` names."""

    def __init__(self, store: PostgresStore, flow: Flow, now: DatabaseClock, process: str) -> None:
        self._store = store
        self._flow = flow
        self._now = now
        self._process = process
        self._written = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Write until the process stops; nothing that goes wrong here ends it, or the engine beside it."""
        while not stopping.is_set():
            await self._try()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), PAUSE_S)
        with contextlib.suppress(Unavailable):  # then what was written runs out by itself
            await self._store.fetch("forget_participant_states", self._process)

    async def run_once(self) -> None:
        """Write how things stand, or nothing any more where no partition is ours; raises Unavailable."""
        seen = seen_by(self._flow, self._now.now_ms())
        if seen:
            written = [msgspec.json.encode(one).decode() for one in seen.values()]
            await self._store.fetch("write_participant_states", self._process, list(seen), written)
        elif self._written:
            await self._store.fetch("forget_participant_states", self._process)
        self._written = bool(seen)

    async def _try(self) -> None:
        try:
            await self.run_once()
        except Unavailable as error:
            log.info("participant_states_not_written", reason=str(error))
        except Exception:
            log.exception("participant_states_failed", alert=True)


def seen_by(flow: Flow, now_ms: int) -> dict[str, Seen]:
    """What this process knows of each participant; of none where it owns no partition."""
    if not flow.parts:
        return {}
    pulses = flow.pulses(now_ms)
    return {
        state.name: Seen(
            len(flow.parts),
            state.in_flight,
            state.breaker,
            state.since_ms,
            state.why,
            state.heard_ms,
            pulses[state.name],
        )
        for state in flow.states()
    }
