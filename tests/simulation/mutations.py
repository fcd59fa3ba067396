"""Twins: the engine with one thing broken. Each must be found by the invariant that it breaks, or that is not one.

A twin replaces names in the modules that use them, for the time of a run. Those of the machine and its commands are in
broken_machine.py, those of what is around it in broken_engine.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

Use = Callable[[Any, str, Any], None]
"""Replaces an attribute: of what, its name, by what."""


@dataclasses.dataclass(frozen=True)
class Twin:
    """One broken thing: `finds` are the invariants of which one must find it."""

    name: str
    finds: tuple[str, ...]
    breaks: Callable[[Use], None]

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Break it for a while."""
        with ExitStack() as stack:
            self.breaks(lambda of, name, by: stack.enter_context(patch.object(of, name, by)) and None)
            yield


TWINS: list[Twin] = []


def twin(*finds: str) -> Callable[[Callable[[Use], None]], Callable[[Use], None]]:
    """Register a twin under its function's name."""

    def register(breaks: Callable[[Use], None]) -> Callable[[Use], None]:
        TWINS.append(Twin(breaks.__name__.replace("_", " "), finds, breaks))
        return breaks

    return register
