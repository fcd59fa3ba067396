"""Who keeps looking while a family of stories is played: the sum of all money is the same at every committed moment."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Protocol, Self

import asyncpg

from deploy.demo.judging.money import Looks, balances_finding

PAUSE_S: Final = 0.02  # between two looks

# One statement is one snapshot: balances and holds as they were committed at the same moment.
MONEY_SQL: Final = "select currency, on_accounts, on_hold from accounts.money"
BALANCES_SQL: Final = "select account_id, balance_minor from accounts.accounts"
RECORDED_SQL: Final = "select account_id, sum(change_minor)::bigint from ledger.postings group by account_id"


class Watch(Protocol):
    """Looks from its beginning to its end; use it inside `async with`."""

    async def __aenter__(self) -> Self:
        """Begin to look."""

    async def __aexit__(self, *_: object) -> None:
        """Look no more."""

    async def findings(self) -> list[tuple[str, bool]]:
        """When nothing moves any more: say what was seen, and for each whether it is as it should be."""


class MoneyWatch:
    """Adds up balances and holds, again and again, over a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._looks = Looks()
        self._failure: Exception | None = None
        self._enough = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Note the balances and begin to look."""
        self._connection = await asyncpg.connect(self._url)
        self._before = await self._amounts(BALANCES_SQL)
        await self._look()
        self._task = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Look no more."""
        await self._stop()
        await self._connection.close()

    async def findings(self) -> list[tuple[str, bool]]:
        """Say whether the sum was always the same, and whether the balances agree with the ledger."""
        await self._stop()
        if self._failure is not None:
            return [(f"after {self._looks.count} looks at all the money it could not be seen: {self._failure}", False)]
        await self._look()
        after, recorded = await self._amounts(BALANCES_SQL), await self._amounts(RECORDED_SQL)
        return [self._looks.finding(), balances_finding(self._before, after, recorded)]

    async def _keep_looking(self) -> None:
        try:
            while not self._enough.is_set():
                await self._look()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), PAUSE_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            self._failure = error

    async def _look(self) -> None:
        rows = await self._connection.fetch(MONEY_SQL)
        self._looks.add({row["currency"]: (row["on_accounts"], row["on_hold"]) for row in rows})

    async def _amounts(self, query: str) -> dict[str, int]:
        return {account: amount for account, amount in await self._connection.fetch(query)}  # noqa: C416 - rows, not pairs

    async def _stop(self) -> None:
        self._enough.set()
        await self._task
