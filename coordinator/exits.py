"""How the command `saga` ends: one code per kind of answer, the same for every command (docs/cli.md)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What a script may rely on."""

    OK = 0
    NO = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    FORBIDDEN = 5
    UNAVAILABLE = 6
    RATE_LIMITED = 7
    FAILED = 8
    INTERRUPTED = 130


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.NO: "the answer is no: refuted, differs, a saga ended otherwise, doctor found something bad",
    ExitCode.USAGE: "asked wrongly: an option, a setting, an input, or no confirmation",
    ExitCode.NOT_FOUND: "there is no such thing, or it may not be known of",
    ExitCode.REFUSED: "refused by the present state (409, 412)",
    ExitCode.FORBIDDEN: "not allowed (401, 403)",
    ExitCode.UNAVAILABLE: "no answer for now (no connection, 503, a timeout)",
    ExitCode.RATE_LIMITED: "asked too often (429)",
    ExitCode.FAILED: "something went wrong there or here",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C; what was begun goes on",
}
"""Said in `saga --help` and in docs/cli.md."""
