"""A world whose processes are killed at points, started again, and judged: the same servers for many runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local.processes import Child
from deploy.local.stack import LocalStack
from tests.checker.checks import Expected, check_run
from tests.crash.hook import FILE, last_words
from tests.crash.nursery import Nursery
from tests.crash.points import Armed
from tests.crash.report import TOOK, Took
from tests.crash.runs import Run
from tests.e2e.world import READY_S, Coordinator, World, eventually

COORDINATOR: Final = "coordinator"
WAVES_MAX: Final = 5
WAVE_S: Final = 3.0  # longer than a saga and the chores after it take
POLL_S: Final = 0.01
REST_S: Final = 60.0
JUDGED_S: Final = 10.0  # lifecycle events are owed for a moment after everything else is at rest


class Stage(World):
    """A coordinator, four participants, and the sagas of one run after the other."""

    def __init__(self, stack: LocalStack, nursery: Nursery) -> None:
        super().__init__(stack, "tests.crash.definitions:definitions")
        self._nursery = nursery
        self.sound = True
        self.took = Took("")
        self._coordinator: Coordinator | None = None
        self._expected: dict[str, str] = {}
        self._complaints: list[str] = []

    # ------------------------------------------------------------ processes

    async def up(self, **settings: str) -> Coordinator:
        """Give the coordinator, started if it does not run, and ready."""
        if self._coordinator is None or self._coordinator.child.exit_code is not None:
            await self._coordinator_launched(**settings).ready()
        assert self._coordinator is not None
        return self._coordinator

    def coordinator_launched(self, **settings: str) -> Child:
        """Start the coordinator, which must not run, without waiting for it."""
        return self._coordinator_launched(**settings).child

    async def child(self, process: str) -> Child:
        """Give a process, started if it does not run, and ready."""
        if process == COORDINATOR:
            return (await self.up()).child
        child = self.participants[process]
        if child.exit_code is not None:
            child = self.start_participant(process)
            await asyncio.to_thread(child.wait_for_line, r"(?m)^ready$", timeout_s=READY_S)
        return child

    def arm(self, process: str, armed: Armed | None) -> None:
        """Tell a process that runs where to die; nowhere any more with None."""
        file = self._file(process)
        fresh = file.with_suffix(".new")
        fresh.write_text(str(armed or ""))
        fresh.replace(file)

    def _coordinator_launched(self, **settings: str) -> Coordinator:
        self._coordinator = self.launch(COORDINATOR, SAGA_KAFKA__INSTANCE_ID=f"{self.prefix}member", **settings)
        return self._coordinator

    def _child(self, name: str, *arguments: str, **settings: str) -> Child:
        _, module, *rest = arguments
        participant = module.removeprefix("participants.")
        program = ["tests.crash.participant", participant] if participant != module else ["tests.crash.coordinator"]
        told = self.environment(**{FILE: str(self._file(name)), **settings})
        full_name = f"{self.database}-{name}"
        log = self.stack.run.path / f"{full_name}.log"
        return self._nursery.start(full_name, *program, *rest, environment=told, log=log)

    def _file(self, process: str) -> Path:
        return self.stack.run.path / f"{self.database}-{process}.crash"

    # ------------------------------------------------------------ one run

    @contextlib.asynccontextmanager
    async def run(self, run: Run) -> AsyncIterator[None]:
        """Do a run: everything is up before it; after it nothing moves, every saga ended as expected, all is judged."""
        self.sound = False
        for process in (COORDINATOR, *self.participants):
            await self.child(process)
        self._expected = {}
        self.took = Took(str(run))
        TOOK.append(self.took)
        yield
        await self.rest(REST_S)
        self.took.reached("at rest")
        await self._judge(run)
        await self.mend()
        self.took.reached("judged")
        self.sound = True

    def expect(self, orders: Sequence[Mapping[str, Any]], status: str) -> None:
        """Remember how the sagas of orders must end."""
        self._expected.update({order["order_id"]: status for order in orders})

    async def kill_in_waves(
        self, process: str, run: Run, wave: Callable[[], Awaitable[None]], wave_s: float = WAVE_S
    ) -> None:
        """Bring work, wave by wave, until a process has died at its point; then start it again."""
        child = await self.child(process)
        self.arm(process, run.armed)
        for _ in range(WAVES_MAX):
            await wave()
            if await _ends(child, wave_s):
                break
        self.arm(process, None)
        await self.died(child, run.armed)
        await self.child(process)
        self.took.reached("back")

    async def died(self, child: Child, armed: Armed, within_s: float = WAVE_S) -> None:
        """Make sure that a process dies at its point, and nowhere else."""
        await _ends(child, within_s)
        assert child.exit_code is not None, f"{armed} was not passed: {child.name} lives"
        assert child.exit_code == -signal.SIGKILL, f"{child.name} ended by itself: {child.output()[-3000:]}"
        assert last_words(armed) in child.output(), f"{child.name} was killed elsewhere than at {armed}"
        self.took.reached("killed")

    async def _judge(self, run: Run) -> None:
        query = "SELECT id::text, business_key, status FROM saga WHERE business_key = ANY($1)"
        rows = await self.rows(query, list(self._expected))
        assert {row["business_key"]: row["status"] for row in rows} == self._expected, str(run)
        self.saga_ids.update(row["id"] for row in rows)
        await eventually(self._is_flawless, within_s=JUDGED_S, what=f"{run} is flawless", explain=self._explain)

    async def _is_flawless(self) -> bool:
        expected = Expected(frozenset(self.saga_ids), self.invisible)
        self._complaints = await check_run(self.url, self.stack.kafka.bootstrap_servers, self.plan, expected)
        return not self._complaints

    async def _explain(self) -> str:
        return "\n".join(self._complaints[:40])


class Stages:
    """Gives the stage of the run before, as long as nothing was wrong on it."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._nursery = Nursery()
        self._stage: Stage | None = None

    async def current(self) -> Stage:
        """A stage without blemish."""
        if self._stage is not None and not self._stage.sound:
            await self._close_stage()
        if self._stage is None:
            self._stage = Stage(self._stack, self._nursery)
            await self._stage.open()
        return self._stage

    async def close(self) -> None:
        """End everything."""
        await self._close_stage()
        self._nursery.close()

    async def _close_stage(self) -> None:
        """End the processes and drop the database."""
        stage, self._stage = self._stage, None
        if stage is not None:
            await stage.close()


async def _ends(child: Child, within_s: float) -> bool:
    """Wait a while for the end of a process; answers whether it has come."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while child.exit_code is None:  # noqa: ASYNC110 - about another process
                await asyncio.sleep(POLL_S)
    return child.exit_code is not None
