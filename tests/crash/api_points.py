"""The points of the API: starts and operators' verbs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from coordinator.api.keeping import Keeper
from coordinator.api.sagas import _SagaRoutes
from coordinator.services.starting import Starter
from coordinator.services.verbs import Verbs
from tests.crash.hook import Hook, Mark, around
from tests.crash.wire import Statement, watched

_KEPT: Final[ContextVar[str | None]] = ContextVar("kept", default=None)
"""The point at which this request's answer is kept."""


class ApiPoints:
    """Wraps what lies around the points; the program behaves as ever until it is killed."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def install(self) -> None:
        """Wrap."""
        around(Starter, "start", self._validated)
        around(Starter, "_look_up", self._looked_up)
        around(Starter, "_commit", self._begun)
        around(_SagaRoutes, "start", self._answered_start)
        around(Verbs, "act", self._answered_verb)
        around(Verbs, "_commit", self._acted)
        around(Keeper, "_settle", self._kept)

    def _validated(self, start: Any) -> Any:
        async def started(starter: Any, wanted: Any) -> Any:
            self._hook.passes("A0")
            return await start(starter, wanted)

        return started

    def _looked_up(self, look_up: Any) -> Any:
        async def looked_up(starter: Any, items: Any) -> Any:
            free = await look_up(starter, items)
            if free:
                self._hook.passes("A1")
            return free

        return looked_up

    def _begun(self, commit: Any) -> Any:
        async def begun(starter: Any, items: Any) -> Any:
            with watched(Statement([Mark("A3")], [Mark("A4")], [Mark("A5")])):
                return await commit(starter, items)

        return begun

    def _answered_start(self, start: Any) -> Any:
        async def answered(routes: Any, request: Any) -> Any:
            answer = await start(routes, request)
            self._hook.passes("A6")
            _KEPT.set("A6a")
            return answer

        return answered

    def _answered_verb(self, act: Any) -> Any:
        async def answered(*arguments: Any, **options: Any) -> Any:
            answer = await act(*arguments, **options)
            self._hook.passes("B5")
            _KEPT.set("B5a")
            return answer

        return answered

    def _acted(self, commit: Any) -> Any:
        async def acted(verbs: Any, draft: Any) -> Any:
            self._hook.passes("B0")
            with watched(Statement([Mark("B3")], [Mark("B4")], [Mark("B4a")])):
                return await commit(verbs, draft)

        return acted

    def _kept(self, settle: Any) -> Any:
        async def kept(*arguments: Any) -> Any:
            await settle(*arguments)
            point = _KEPT.get()
            if point is not None:
                self._hook.passes(point)

        return kept
