"""What a command meets outside, where it is not the network and a terminal: the root context's object, for tests."""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec


class Outside(msgspec.Struct, frozen=True):
    """A transport instead of the network; whether somebody answers questions (None: as the terminal says)."""

    transport: httpx2.BaseTransport | None = None
    interactive: bool | None = None


def outside_of(ctx: Any) -> Outside:
    """What a command's root context holds, or the real world."""
    found = ctx.find_root().obj
    return found if isinstance(found, Outside) else Outside()
