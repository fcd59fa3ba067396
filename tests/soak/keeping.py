"""The processes of a soak: killed at random, started again, and watched, for none may end by itself."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from tests.e2e.world import Coordinator, World
from tests.soak.definitions import PARTICIPANTS

REPLICAS = ("coordinator-a", "coordinator-b")
LOOK_S = 0.2
KILLED = -9
COORDINATOR_EVERY_S = (8.0, 30.0)
PARTICIPANT_EVERY_S = (6.0, 20.0)


class ProcessFailed(AssertionError):
    """A process ended that nobody has killed."""


class Keeper:
    """Kills processes while it may, and starts what is dead until it is closed."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self._world = world
        self._dice = dice
        self._coordinators: dict[str, Coordinator] = {}
        self._due: dict[str, float] = {}
        self._killing = True
        self.kills: Counter[str] = Counter()

    async def start(self) -> None:
        """Start the coordinators and wait until they are ready."""
        for name in REPLICAS:
            self._launch(name)
        await asyncio.gather(*(coordinator.ready() for coordinator in self._coordinators.values()))

    def alive(self) -> list[Coordinator]:
        """The coordinators that run, in random order; one that has just been started may not listen yet."""
        running = [each for each in self._coordinators.values() if each.child.exit_code is None]
        self._dice.shuffle(running)
        return running

    def pids(self) -> dict[str, int]:
        """The processes that run, coordinators first."""
        children = {name: coordinator.child for name, coordinator in self._coordinators.items()}
        children |= self._world.participants
        return {name: child.pid for name, child in children.items() if child.exit_code is None}

    def relent(self) -> None:
        """Kill nobody any more."""
        self._killing = False

    async def kill_coordinators(self) -> None:
        """Kill one of the coordinators every now and then; sometimes for longer than its session lasts."""
        while True:
            await asyncio.sleep(self._dice.uniform(*COORDINATOR_EVERY_S))
            if self._killing:
                name = self._dice.choice(REPLICAS)
                running = self._coordinators[name]
                if running.child.exit_code is None:
                    self._due[name] = self._now() + self._dice.choice((0.0, 0.5, 2.0, 2.0, 15.0))
                    self.kills["coordinator"] += 1
                    await running.kill()

    async def kill_participants(self) -> None:
        """Kill one of the participants every now and then."""
        while True:
            await asyncio.sleep(self._dice.uniform(*PARTICIPANT_EVERY_S))
            if self._killing:
                name = self._dice.choice(PARTICIPANTS)
                running = self._world.participants[name]
                if running.exit_code is None:
                    self._due[name] = self._now() + self._dice.choice((0.0, 0.5, 3.0, 8.0))
                    self.kills["participant"] += 1
                    await asyncio.to_thread(running.kill)

    async def look_after(self) -> None:
        """Start again what was killed or has killed itself; raises ProcessFailed for any other end."""
        while True:
            await asyncio.sleep(LOOK_S)
            for name in (*REPLICAS, *PARTICIPANTS):
                self._look_at(name)

    def _look_at(self, name: str) -> None:
        coordinator = self._coordinators.get(name)
        child = self._world.participants[name] if coordinator is None else coordinator.child
        if child.exit_code is None:
            return
        if child.exit_code != KILLED:
            raise ProcessFailed(f"{name} ended with {child.exit_code}: {child.output()[-3000:]}")
        if self._now() < self._due.get(name, 0.0):
            return
        if coordinator is None:
            self._world.start_participant(name)
        else:
            self._launch(name)

    def _launch(self, name: str) -> None:
        self._coordinators[name] = self._world.launch(name, SAGA_KAFKA__INSTANCE_ID=f"{self._world.prefix}{name}")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
