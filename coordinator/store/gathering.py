"""Many calls, one statement: what comes while a statement is under way goes with the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")


class Gathering(Generic[AskedT, AnswerT]):
    """Gathers calls; of those with one `identity` each statement has at most one.

    `run` answers one value per call, in their order; what it raises, every caller of that statement hears.
    """

    def __init__(
        self,
        run: Callable[[Sequence[AskedT]], Awaitable[Sequence[AnswerT]]],
        identity: Callable[[AskedT], Hashable],
        most: int,
    ) -> None:
        self._run = run
        self._identity = identity
        self._most = most
        self._waiting: list[tuple[AskedT, asyncio.Future[AnswerT]]] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, one: AskedT) -> AnswerT:
        """Have one call answered."""
        future: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._answer_all())
        return await future

    async def _answer_all(self) -> None:
        while self._waiting:
            taken = self._take()
            try:
                answers = await self._run([one for one, _ in taken])
            except Exception as error:  # noqa: BLE001 - whoever asked hears it
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(taken, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _take(self) -> list[tuple[AskedT, asyncio.Future[AnswerT]]]:
        taken: dict[Hashable, tuple[AskedT, asyncio.Future[AnswerT]]] = {}
        left: list[tuple[AskedT, asyncio.Future[AnswerT]]] = []
        for call in self._waiting:
            name = self._identity(call[0])
            if len(taken) < self._most and name not in taken:
                taken[name] = call
            else:
                left.append(call)
        self._waiting = left
        return list(taken.values())
