"""The versions of definitions, between this process and all others: registered at start-up, followed by heartbeats.

A changed content under a known version is refused while sagas of it are in flight, or while a live replica runs the
other content. A version that a live replica lacks starts no sagas; those that it has started elsewhere go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from coordinator.engine.ports import Clock
from coordinator.engine.registry import Registry
from coordinator.errors import ConfigurationError, Unavailable
from coordinator.saga.content import Content
from coordinator.saga.differences import differences
from coordinator.store.replicas import LIVE_S, Change, InUse, Known, Replicas

log = structlog.get_logger()

PAUSE_S = 3.0
PATIENCE_S = LIVE_S + 3.0  # a replica that was killed counts as live for LIVE_S


class Versions:
    """Registers what the registry holds, and tells the registry what may start sagas.

    `observed` are contents that nobody starts sagas of: those of choreographies.
    """

    def __init__(
        self,
        replicas: Replicas,
        registry: Registry,
        clock: Clock,
        patience_s: float = PATIENCE_S,
        observed: Sequence[Content] = (),
    ) -> None:
        self._replicas = replicas
        self._observed = observed
        self._registry = registry
        self._clock = clock
        self._patience_s = patience_s
        self._first_try: float | None = None
        self._held: dict[tuple[str, int], str] = {}

    async def register(self) -> None:
        """Make the definitions known; until then the process can neither run nor start sagas.

        Raises ConfigurationError with the difference when a changed version is in use; Unavailable, also for as long
        as a replica that runs the other content may be one that has just ended.
        """
        if self._first_try is None:
            self._first_try = self._clock.monotonic()
        try:
            registered = await self._replicas.register([*self._registry.contents, *self._observed])
        except InUse as error:
            waited = self._clock.monotonic() - self._first_try
            sentences = " ".join(_refusal(change) for change in error.changes)
            if waited < self._patience_s and not any(change.in_flight for change in error.changes):
                raise Unavailable(sentences) from None
            raise ConfigurationError(sentences) from None
        for change in registered.replaced:
            log.info(
                "definition_replaced",
                saga_type=change.content.name,
                version=change.content.version,
                differences=differences(change.known, change.content.document),
            )
        self._registry.bind(registered.ids)
        await self.beat()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on to count as a live replica until the process stops; nothing that goes wrong here ends it."""
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), PAUSE_S)
                return
            try:
                await self.beat()
            except Unavailable as error:
                log.info("heartbeat_postponed", reason=str(error))
            except Exception:
                log.exception("heartbeat_failed", alert=True)

    async def beat(self) -> None:
        """Say that this replica lives, and learn which versions all live ones know. Raises Unavailable."""
        known = await self._replicas.beat(self._registry.ids)
        names = {each.id: (each.name, each.version) for each in known}
        held = {names[each.id]: reason for each in known if (reason := self._why_held(each))}
        self._registry.learn(names, held)
        self._tell(held, known)

    async def leave(self) -> None:
        """Count no longer as a live replica. Raises Unavailable."""
        await self._replicas.leave()

    def _why_held(self, known: Known) -> str | None:
        """Why a version starts no sagas here for now; None when it does, or when nobody speaks of it any more."""
        if self._registry.of_id(known.id) is None:
            is_news = known.runs and (known.name, known.version) not in self._registry.ids
            return "this process does not know it yet; ask again when it is up to date" if is_news else None
        if not known.present:
            return "another content has been registered under this version since; this process runs the old one"
        if known.lacking:
            count = len(known.lacking)
            who = "one live replica does" if count == 1 else f"{count} live replicas do"
            return f"{who} not know it yet; ask again when all are up to date"
        return None

    def _tell(self, held: dict[tuple[str, int], str], known: list[Known]) -> None:
        lacking = {(each.name, each.version): each.lacking for each in known}
        for (name, version), reason in held.items():
            if self._held.get((name, version)) != reason:
                log.warning(
                    "version_held", saga_type=name, version=version, reason=reason, lacking=lacking[name, version]
                )
        for name, version in self._held.keys() - held.keys():
            log.info("version_released", saga_type=name, version=version)
        self._held = held


def _refusal(change: Change) -> str:
    name, version = change.content.name, change.content.version
    changed = "; ".join(differences(change.known, change.content.document))
    uses = []
    if change.in_flight:
        uses.append(f"{change.in_flight} {'saga of it is' if change.in_flight == 1 else 'sagas of it are'} in flight")
    if change.replicas:
        who = "a live replica runs" if len(change.replicas) == 1 else f"{len(change.replicas)} live replicas run"
        uses.append(f"{who} the other content ({', '.join(change.replicas)})")
    return (
        f"{name} version {version} has changed while {' and '.join(uses)}: {changed}. "
        f"Give the changed definition a new version and keep version {version} beside it until its sagas have ended."
    )
