"""What happens in a run, a line each, for people: faults, transitions, records, and how processes come and go."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from tests.simulation.broker import Kept
from tests.simulation.database import Written
from tests.simulation.world import World

LINES_MAX = 200
_SAGA_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Transcript:
    """The lines of one run, each with the second at which it happened."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def follow(self, world: World) -> None:
        """Take down what happens from now on."""
        world.faults.tell = lambda name: self._say(f"FAULT {name}")
        world.database.watch = _both(self._committed, world.database.watch)
        world.broker.watch = _both(self._stored, world.broker.watch)
        world.on_boot = lambda name: self._say(f"{name} begins")

    def about(self, violation: str, lines_max: int = LINES_MAX) -> list[str]:
        """The last lines about the sagas that a violation names, with the faults and processes between them."""
        named = set(_SAGA_ID.findall(violation))
        wanted = [line for line in self._lines if not _SAGA_ID.search(line) or any(one in line for one in named)]
        return wanted[-lines_max:] if named else self._lines[-lines_max:]

    def _committed(self, written: Written) -> None:
        for fence in written.batch.fences:
            said = f"partition {fence.part} {fence.from_offset}..{fence.next_offset} of {fence.owner}"
            self._say(f"commit {said}, epoch {fence.epoch}")
        for saga_id, version, _, event, step, status, _ in written.batch.logs:
            self._say(f"commit {saga_id} v{version} {event} {step or ''} -> {status}")

    def _stored(self, record: Kept) -> None:
        headers = dict(record.headers)
        kind, about = (headers.get("ce_type") or b"").decode(), (headers.get("ce_id") or b"").decode()
        self._say(f"stored {record.topic}/{record.partition}@{record.offset} {kind} {about}")

    def _say(self, line: str) -> None:
        self._lines.append(f"{asyncio.get_running_loop().time():9.3f} {line}")


def _both(first: Callable[[Any], None], second: Callable[[Any], None]) -> Callable[[Any], None]:
    def both(value: Any) -> None:
        first(value)
        second(value)

    return both
