"""A soak from its start to its verdict."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any

from tests.checker.checks import check_run
from tests.checker.evidence import Expected
from tests.e2e.transfers import Looks, looking
from tests.e2e.world import World
from tests.soak.definitions import plan
from tests.soak.helping import People
from tests.soak.keeping import Keeper
from tests.soak.measuring import Highest, Limits, Progress, Sample, sample

DEFINITIONS = "tests.soak.definitions:definitions"
SAMPLE_S = 3.0
SHOW_S = 10.0
STILL_S = 60.0
MONEY_S = 1.0
LOOK_S = 0.5
ENDED = "SELECT NOT EXISTS (SELECT FROM saga WHERE status NOT IN ('completed', 'failed'))"
Say = Callable[[str], None]


class Hanging(AssertionError):
    """Nothing has moved for a while."""


class Exceeded(AssertionError):
    """A limit was exceeded."""


class Soak:
    """One run; `figures` are what there is to tell of it, whatever came of it."""

    def __init__(self, world: World, number: int, say: Say, limits: Limits | None = None) -> None:
        self.world = world
        self.world.plan = plan(world.prefix)
        self.number = number
        self._say = say
        self._limits = limits or Limits()
        self.keeper = Keeper(world, random.Random(number))
        self.people = People(world, self.keeper, number + 1)
        self.highest = Highest()
        self.last = Sample()
        self.looks: Looks | None = None
        self.complaints: list[str] = []
        self._began = time.monotonic()
        self._progress = Progress(STILL_S, self._began)
        self._resting = False
        self.minutes = 0.0

    async def run(self, minutes: float) -> None:
        """Let it all happen for so long, then let it come to rest, and judge; raises where it went wrong."""
        await self.keeper.start()
        self._began = time.monotonic()
        self._progress = Progress(STILL_S, self._began)
        async with looking(self.world, every_s=MONEY_S) as self.looks:
            await self._play(minutes * 60)
        await self._judge()

    async def _play(self, seconds: float) -> None:
        """Let everybody do what they do for so long; whoever of them fails ends it. Then wait for rest."""
        others = (
            *(self.keeper.kill_coordinators(), self.keeper.kill_participants(), self.keeper.look_after()),
            *(self.people.approve(), self.people.repair(), self.people.tidy()),
            *(self._sample(), self._show()),
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(other) for other in others]
                asking = group.create_task(self.people.ask())
                await asyncio.sleep(seconds)
                self.minutes = round((time.monotonic() - self._began) / 60, 1)
                self._say("enough: nothing is started, killed or disturbed any more; everything must come to rest")
                self.people.asking = False
                self.keeper.relent()
                await asking
                await self.world.mend()
                self._resting = True
                while not await self._rests():  # noqa: ASYNC110 - it is about other processes
                    await asyncio.sleep(LOOK_S)
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            await self.people.close()

    async def _rests(self) -> bool:
        """Whether every saga has ended and nothing is on its way; a participant that restarts is waited for."""
        with contextlib.suppress(ConnectionError, OSError):
            return await self.world.value(ENDED) and await self.world.is_at_rest()
        return False

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            seen = self.last = await sample(self.world, self.keeper.pids())
            self.highest.take(seen)
            excesses = list(seen.excesses(self._limits))
            if excesses:
                raise Exceeded("; ".join(excesses))
            now = time.monotonic()
            reads = await self.world.value("SELECT coalesce(sum(next_offset), 0)::bigint FROM shard")
            if self._progress.hangs(now, seen.transitions, seen.sagas, seen.outbox, reads):
                raise Hanging(f"nothing has moved for {self._progress.still_s(now):.0f} s")

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(SHOW_S)
            seen, kills = self.last, self.keeper.kills
            rss = "/".join(f"{seen.rss_mb[name]:.0f}" for name in sorted(seen.rss_mb) if name.startswith("coord"))
            files = "/".join(str(seen.descriptors[name]) for name in sorted(seen.rss_mb) if name.startswith("coord"))
            self._say(
                f"{(time.monotonic() - self._began) / 60:.1f} min{', resting' if self._resting else ''}:"
                f" {seen.sagas} sagas, {seen.ended} ended, {seen.suspended} suspended;"
                f" kills {kills['coordinator']}+{kills['participant']}, faults {self.people.faults.total()},"
                f" retries {self.people.retries}; rss {rss} MB, files {files}, sessions {seen.sessions},"
                f" outbox {seen.outbox} rows and {seen.outbox_mb:.1f} MB"
            )

    async def _judge(self) -> None:
        expected = Expected(frozenset(self.world.saga_ids), secrets=self.world.secrets)
        logs = sorted({coordinator.child.log for coordinator in self.world.coordinators})
        bootstrap = self.world.stack.kafka.bootstrap_servers
        self.complaints = await check_run(self.world.url, bootstrap, self.world.plan, expected, logs)
        self.complaints += await self._money()
        lost = set(self.people.over_kafka) - {
            row["business_key"] for row in await self.world.rows("SELECT business_key FROM saga_key")
        }
        self.complaints += [f"the start of {key} was asked for over Kafka and is lost" for key in sorted(lost)]
        if self.complaints:
            raise AssertionError("\n".join(self.complaints[:40]))

    async def _money(self) -> list[str]:
        looks = self.looks or Looks()
        found = [f"{what} differed in {count} of {looks.count} looks" for what, count in looks.wrong.items()]
        held = await self.world.value("SELECT count(*) FROM accounts.holds WHERE ending IS NULL")
        if held:
            found.append(f"{held} holds are open though everything has ended")
        return found

    async def figures(self, failure: str) -> dict[str, Any]:
        """What there is to tell, for the record; `failure` is what went wrong, if something did."""
        statuses = await self.world.rows(
            "SELECT d.name, s.status, count(*) FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id"
            " GROUP BY 1, 2 ORDER BY 1, 2"
        )
        looks = self.looks or Looks()
        return {
            "tier": "soak",
            "passed": not failure,
            "failure": failure,
            "seed": self.number,
            "minutes": self.minutes,
            "sagas": sum(row["count"] for row in statuses),
            "statuses": {f"{row['name']} {row['status']}": row["count"] for row in statuses},
            "faults": self.people.faults.total(),
            "faults_by_kind": dict(self.people.faults.most_common()),
            "coordinator_kills": self.keeper.kills["coordinator"],
            "participant_kills": self.keeper.kills["participant"],
            "retries": self.people.retries,
            "approvals": self.people.approvals,
            "looks": looks.count,
            "looks_with_money_on_hold": looks.held,
            "complaints": len(self.complaints),
            **vars(self.highest),
        }
