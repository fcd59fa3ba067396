"""The model of a participant with its duties: it remembers final answers, and refuses what was undone before it came.

A participant is decided lazily. A command that was sent may be lost, late or executed already; which of these it is, is
chosen when somebody can tell the difference, so that one `Participant` stands for all of them. Nothing that was sent is
ever forgotten: every answer can be given again at any time, or never.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Fate(StrEnum):
    """What became of a step's action at its participant."""

    OPEN = "open"  # executed or not: nobody can tell yet
    DONE = "done"
    REFUSED = "refused"  # no effect, and none is coming: it failed for good, or a tombstone stands there
    UNDONE = "undone"
    STUCK = "stuck"  # only where a participant takes a failure for now for its final answer


class Said(StrEnum):
    """What a participant can answer; the words are those of transcripts."""

    COMPLETED = "completed"
    PROBLEM = "completed problem='the result does not fit'"
    FAILED = "failed"
    RETRYABLE = "failed retryable"
    UNDONE = "undone"
    NOTHING = "nothing_to_undo"
    UNDO_FAILED = "undo_failed"


class Duties(NamedTuple):
    """Which duties participants keep: tombstones are left, and a failure for now is not remembered."""

    tombstones: bool = True
    forget_hiccups: bool = True


DUTIFUL = Duties()


class Participant(NamedTuple):
    """What was sent to one step's participant in the present generation, and what became of it."""

    asked: bool = False
    undo_asked: bool = False
    fate: Fate = Fate.OPEN

    @property
    def may_have_effect(self) -> bool:
        """Whether the action's effect is there, or may still come."""
        return self.asked and self.fate in (Fate.OPEN, Fate.DONE)

    def answers(self, duties: Duties) -> list[tuple[Said, Participant]]:
        """List what it may answer to anything that was sent so far, and what is known of it afterwards."""
        found = []
        if self.asked:
            found += self._action_answers(duties)
        if self.undo_asked:
            found += self._undo_answers(duties)
        return [(said, self._replace(fate=fate)) for said, fate in found]

    def _action_answers(self, duties: Duties) -> list[tuple[Said, Fate]]:
        match self.fate:
            case Fate.OPEN:
                return [
                    (Said.COMPLETED, Fate.DONE),
                    (Said.PROBLEM, Fate.DONE),
                    (Said.FAILED, Fate.REFUSED),
                    (Said.RETRYABLE, Fate.OPEN if duties.forget_hiccups else Fate.STUCK),
                ]
            case Fate.REFUSED:
                return [(Said.FAILED, self.fate)]
            case Fate.STUCK:
                return [(Said.RETRYABLE, self.fate)]
            case _:
                return [(Said.COMPLETED, self.fate)]

    def _undo_answers(self, duties: Duties) -> list[tuple[Said, Fate]]:
        match self.fate:
            case Fate.OPEN:
                refused = Fate.REFUSED if duties.tombstones else Fate.OPEN
                return [(Said.UNDONE, Fate.UNDONE), (Said.NOTHING, refused), (Said.UNDO_FAILED, self.fate)]
            case Fate.DONE:
                return [(Said.UNDONE, Fate.UNDONE), (Said.UNDO_FAILED, self.fate)]
            case Fate.UNDONE:
                return [(Said.UNDONE, self.fate)]
            case _:
                return [(Said.NOTHING, Fate.REFUSED), (Said.UNDO_FAILED, self.fate)]
