"""What `saga doctor` finds out, whichever way it looks."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """One check: what was found, and what to do about it ("" where nothing is to be done)."""

    check: str
    state: State
    found: str
    advice: str = ""
