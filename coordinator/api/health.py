"""Is this process ready? Named checks, each a sentence when it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from coordinator.errors import SagaError
from coordinator.store import migrations
from coordinator.store.reads import SagaReads

Check = tuple[str, Callable[[], Awaitable[str | None]]]
"""A name, and what answers None when all is well or else a sentence that says what is not."""

CHECK_TIMEOUT_S = 2.0
FRESH_S = 0.5  # whoever asks more often gets the last answer again


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of /readyz; a check that is well says "ok", `authentication` whom the API serves."""

    ready: bool
    checks: dict[str, str]
    authentication: str | None = None


class ReadinessProbe:
    """Runs checks side by side; one that raises or takes too long is not well."""

    def __init__(
        self, checks: Sequence[Check], timeout_s: float = CHECK_TIMEOUT_S, authentication: str | None = None
    ) -> None:
        self._checks = checks
        self._authentication = authentication
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._last: Readiness | None = None
        self._asked_at = 0.0

    async def ask(self) -> Readiness:
        """How things stand, at most half a second ago."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._asked_at > FRESH_S:
                checks = list(self._checks)  # a process that is starting adds to them
                words = await asyncio.gather(*(_run(check, self._timeout_s) for _, check in checks))
                found = {name: word for (name, _), word in zip(checks, words, strict=True)}
                self._last = Readiness(all(word == "ok" for word in words), found, self._authentication)
                self._asked_at = time.monotonic()
            return self._last


class Healthy(Protocol):
    """Something that knows whether it works."""

    @property
    def healthy(self) -> bool: ...  # noqa: D102


def database_check(reads: SagaReads) -> Check:
    """Postgres answers."""

    async def check() -> None:
        await reads.ping()

    return "database", check


def migrations_check(reads: SagaReads) -> Check:
    """The database has the tables of this version."""
    wanted: list[str] = []

    async def check() -> str | None:
        if not wanted:
            wanted.append(await asyncio.to_thread(migrations.head))
        found = await reads.migration()
        if found == wanted[0]:
            return None
        return f"the database stands at migration {found}, this version wants {wanted[0]}: run `saga migrate`"

    return "migrations", check


def log_days_check(reads: SagaReads, at_least: int = 2) -> Check:
    """The saga log has partitions for the days to come."""

    async def check() -> str | None:
        days = await reads.log_days_ahead()
        if days >= at_least:
            return None
        return f"the saga log has partitions for {days} days ahead, at least {at_least} are wanted"

    return "log_partitions", check


def publisher_check(publisher: Healthy) -> Check:
    """Kafka acknowledges what we publish."""

    async def check() -> str | None:
        return None if publisher.healthy else "Kafka has not acknowledged the last messages"

    return "kafka", check


async def _run(check: Callable[[], Awaitable[str | None]], timeout_s: float) -> str:
    try:
        return await asyncio.wait_for(check(), timeout_s) or "ok"
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except SagaError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a check, the answer is: not ready
        return f"the check failed: {type(error).__name__}"
