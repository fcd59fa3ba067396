"""The gauges that tell of rows: read from the database every few seconds by the process that owns partition 0.

A scrape never asks the database, so it costs the same with a million sagas as with none. How old the numbers are is
a gauge, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from coordinator.engine.ports import Clock
from coordinator.engine.registry import Registry
from coordinator.errors import Unavailable
from coordinator.observability import surveyed
from coordinator.observability.collectors import Known, Labels
from coordinator.observability.metrics import Metrics, word
from coordinator.saga.model import RESTING, SagaStatus
from coordinator.store.reads import SagaReads

log = structlog.get_logger()

PAUSE_S = 5.0
SHARE_MAX = 0.05  # of the time; a survey that takes long is taken less often
STUCK_AFTER_S = 60  # overdue by more than any gate or sweep explains
COMPENSATING_MAX = 200  # sagas whose log is asked when they turned back
RECENT_MAX, RECENT_S = 1_000, 900
UNKNOWN = "unknown"
_IN_FLIGHT = [status for status in SagaStatus if status not in RESTING]

Found = dict[str, dict[Labels, float]]


class Gauges:
    """One survey per call of `run_once`; `is_first` says whether this process owns partition 0.

    `observed` are the names of choreographies.
    """

    def __init__(
        self,
        reads: SagaReads,
        registry: Registry,
        metrics: Metrics,
        clock: Clock,
        is_first: Callable[[], bool],
        observed: Sequence[str] = (),
    ) -> None:
        self._reads = reads
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._is_first = is_first
        self._observed = observed

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep the gauges fresh until the process stops; nothing that goes wrong here ends it, or the engine."""
        while not stopping.is_set():
            took_s = 0.0
            try:
                took_s = await self.run_once()
            except Unavailable as error:  # what is shown grows old, and says so
                log.info("gauges_postponed", reason=str(error))
            except Exception:
                log.exception("gauges_failed", alert=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), max(PAUSE_S, took_s / SHARE_MAX))

    async def run_once(self) -> float:
        """Take a survey and show it, or show none if another process does; answers how long it took, in seconds."""
        if not self._is_first():
            self._metrics.survey.hide()
            return 0.0
        began = self._clock.monotonic()
        found: Found = defaultdict(dict)
        await self._sagas(found)
        await self._problems(found)
        [now] = await self._reads.fetch("now")
        took_s = self._clock.monotonic() - began
        _set(found, surveyed.REFRESHED, now["now_ms"] / 1000)
        _set(found, surveyed.REFRESH_SECONDS, took_s)
        if self._is_first():
            self._metrics.survey.show(found)
        return took_s

    async def _sagas(self, found: Found) -> None:
        names = [*self._registry.names, *self._observed]
        for name in names:
            for gauge in (surveyed.STUCK, surveyed.STUCK_AGE, surveyed.SUSPENDED, surveyed.COMPENSATING_AGE):
                found[gauge.name][name,] = 0
            for status in _IN_FLIGHT:
                found[surveyed.IN_FLIGHT.name][name, status.value] = 0
        for row in await self._reads.fetch("survey_in_flight", STUCK_AFTER_S):
            name = self._name(row)
            _add(found, surveyed.IN_FLIGHT, row["sagas"], name, row["status"])
            _add(found, surveyed.STUCK, row["stuck"], name)
            _most(found, surveyed.STUCK_AGE, row["overdue_s"] if row["stuck"] else 0, name)
        for row in await self._reads.fetch("survey_suspended"):
            _add(found, surveyed.SUSPENDED, row["sagas"], self._name(row))
        for row in await self._reads.fetch("survey_compensating", COMPENSATING_MAX):
            _most(found, surveyed.COMPENSATING_AGE, row["seconds"], self._name(row))

    async def _problems(self, found: Found) -> None:
        for row in await self._reads.fetch("survey_incidents"):
            reason = word(row["reason"])
            _add(found, surveyed.INCIDENTS, row["incidents"], reason)
            _most(found, surveyed.INCIDENT_AGE, row["seconds"], reason)
        for row in await self._reads.fetch("count_dead_letters"):
            labels = (row["kind"], word(row["reason"]), row["next"])
            _add(found, surveyed.LETTERS, row["letters"], *labels)
        [letters] = await self._reads.fetch("survey_letters", RECENT_MAX, RECENT_S)
        _set(found, surveyed.LETTERS_RECENT, letters["recent"])
        _set(found, surveyed.LETTER_AGE, letters["oldest_s"])
        [outbox] = await self._reads.fetch("survey_outbox")
        _set(found, surveyed.OUTBOX, outbox["messages"])
        _set(found, surveyed.OUTBOX_AGE, outbox["oldest_s"])

    def _name(self, row: Any) -> str:
        """The name of a row's definition; sagas of one that nobody remembers are counted all the same."""
        name, version = self._registry.label_of_id(row["definition_id"])
        return name if version else UNKNOWN


def _set(found: Found, gauge: Known, value: float | None) -> None:
    found[gauge.name][()] = max(0.0, value or 0.0)


def _add(found: Found, gauge: Known, value: float, *labels: str) -> None:
    found[gauge.name][labels] = found[gauge.name].get(labels, 0) + value


def _most(found: Found, gauge: Known, value: float | None, *labels: str) -> None:
    found[gauge.name][labels] = max(found[gauge.name].get(labels, 0.0), value or 0.0)
