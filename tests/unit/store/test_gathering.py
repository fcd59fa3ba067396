"""Calls that come together share a statement, and each hears its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from coordinator.store.gathering import Gathering


class Table:
    """Answers with the double of each number, and notes what came together; a statement takes until it is let go."""

    def __init__(self) -> None:
        self.statements: list[list[int]] = []
        self.began = asyncio.Event()
        self.gate = asyncio.Event()

    async def run(self, asked: Sequence[int]) -> list[int]:
        """Answer a statement; one that has a 13 in it fails."""
        self.statements.append(list(asked))
        self.began.set()
        await self.gate.wait()
        if 13 in asked:
            raise ValueError("no thirteens")
        return [2 * number for number in asked]


async def _ask(table: Table, numbers: Sequence[int], most: int = 100) -> list[int | BaseException]:
    """Ask for the first number, then for the others while its statement is under way."""
    gathering = Gathering(table.run, lambda number: number % 100, most)
    calls = [asyncio.create_task(gathering.ask(numbers[0]))]
    await table.began.wait()
    calls += [asyncio.create_task(gathering.ask(number)) for number in numbers[1:]]
    await asyncio.sleep(0)
    table.gate.set()
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_what_comes_meanwhile_goes_together() -> None:
    """The first goes at once and alone, the rest share the next statement; answers are in order."""
    table = Table()
    assert await _ask(table, [1, 2, 3, 4]) == [2, 4, 6, 8]
    assert table.statements == [[1], [2, 3, 4]]


async def test_a_statement_has_an_identity_once_and_no_more_than_it_may() -> None:
    """The second call for one thing waits for the next statement, as do those beyond the limit."""
    table = Table()
    assert await _ask(table, [1, 2, 102, 3, 4], most=2) == [2, 4, 204, 6, 8]
    assert table.statements == [[1], [2, 3], [102, 4]]


async def test_what_fails_fails_for_its_statement_only() -> None:
    """Everybody of the statement hears of it, and the next one is run."""
    table = Table()
    first, second, third = await _ask(table, [13, 1, 2])
    assert isinstance(first, ValueError)
    assert (second, third) == (2, 4)


async def test_whoever_does_not_wait_any_longer_harms_nobody() -> None:
    """A caller that is cancelled leaves the answers of the others as they are."""
    table = Table()
    gathering = Gathering(table.run, lambda number: number, 100)
    calls = [asyncio.create_task(gathering.ask(number)) for number in (1, 2)]
    await table.began.wait()
    calls[0].cancel()
    table.gate.set()
    assert await calls[1] == 4
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
