"""Where processes are killed: every place between two steps that a restart must be able to tell apart, or need not.

    path   what is on its way
    R      a reply: polled, decided, committed, its offset told to Kafka
    O      a command: committed, published, its outbox row deleted
    T      a timer
    A      a start through the API
    B      an operator's verb through the API
    Q      a record that cannot be read
    P      a command at a participant
    S      a coordinator's start
    M      a migration

The coordinator writes with ONE statement: what it does in Postgres has no places in between that a dying client could
be found at. Such steps are in COLLAPSED, with the points that stand for them: the statement's bytes are half sent (the
server never has it), sent (it runs, whoever is left), or its answer has come and nobody has read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Point:
    """A place where a process is killed, and what must hold after its restart."""

    where: str
    holds: str


_APPLIED_ONCE = "Kafka delivers the records again, and each is applied once"
_DECIDED_ANEW = "nothing was written: the records come again and are decided about anew"
_OFFSET_IN_POSTGRES = "the offset in Postgres says that the batch is done, and nothing of it is done again"
_SAME_ID = "the command is published, perhaps again, under the same id, and has one effect"
_ONE_SAGA = "the client asks again under its key, and there is one saga"
_NO_SAGA_YET = "there is no saga; the client asks again and begins the only one"
_BOTH_OR_NEITHER = "the act and its entry in the audit are both there or both not, and asking again makes them one"
_ONE_LETTER = "the record becomes one letter, and one record of the dead-letter topic at least"
_ONE_EFFECT = "the command comes again, has one effect, and is answered with the same reply"
_CLEAN = "migrating again finishes, with the very schema of a migration that was left in peace"
_TAKEN_OVER = "the next start claims the partitions under a new epoch, and sends what was left in the outbox"

POINTS: Final[dict[str, Point]] = {
    "R0": Point("records are polled and not looked at", _APPLIED_ONCE),
    "R1": Point("they are decoded", _APPLIED_ONCE),
    "R5": Point("they are decided about, in memory", _DECIDED_ANEW),
    "R8": Point("half of the statement's bytes are sent", _DECIDED_ANEW),
    "R9": Point("the statement is sent, and perhaps not executed", f"either way: {_APPLIED_ONCE}"),
    "R10": Point("its answer has come, and nobody has read it", _OFFSET_IN_POSTGRES),
    "R11": Point("the offsets are sent to Kafka, after the batch", _OFFSET_IN_POSTGRES),
    "R12": Point("Kafka has stored them", _OFFSET_IN_POSTGRES),
    "O0": Point("commands are committed and handed to the publisher, which has not begun", _SAME_ID),
    "O1": Point("the request that carries them is sent, and not answered", _SAME_ID),
    "O1a": Point("of commands that left together one partition's are acknowledged, the next one's not sent", _SAME_ID),
    "O2": Point("Kafka's acknowledgement has come, and nobody has used it", _SAME_ID),
    "O3": Point("it is remembered, and the outbox row is still there", _SAME_ID),
    "O4": Point("the row's deletion is sent, and perhaps not executed", _SAME_ID),
    "O5": Point("the row is deleted, and nobody has read that", "the command is not published again"),
    "T0": Point("timers are due, and nothing is decided about them", "they are due again, and fire once"),
    "T2": Point("what they cause is decided, in memory", "they are due again, and fire once"),
    "T3": Point("half of the statement's bytes are sent", "they are due again, and fire once"),
    "T4": Point("the statement is sent, and perhaps not executed", "an attempt is counted once"),
    "T5": Point("its answer has come, and nobody has read it", "an attempt is counted once, and its command is sent"),
    "A0": Point("a start is validated, its key is claimed", _NO_SAGA_YET),
    "A1": Point("the business key was looked up, and is free", _NO_SAGA_YET),
    "A3": Point("half of the statement's bytes are sent", _NO_SAGA_YET),
    "A4": Point("the statement is sent, and perhaps not executed", _ONE_SAGA),
    "A5": Point("its answer has come, and nobody has read it", f"its first command is sent; {_ONE_SAGA}"),
    "A6": Point("the answer is made, and not kept under the key", _ONE_SAGA),
    "A6a": Point("the answer is kept under the key, and not sent", "the client asks again and hears that very answer"),
    "B0": Point("a verb is decided about, in memory", _BOTH_OR_NEITHER),
    "B3": Point("half of the statement's bytes are sent", _BOTH_OR_NEITHER),
    "B4": Point("the statement is sent, and perhaps not executed", _BOTH_OR_NEITHER),
    "B4a": Point("its answer has come, and nobody has read it", _BOTH_OR_NEITHER),
    "B5": Point("the answer is made, and not kept under the key", _BOTH_OR_NEITHER),
    "B5a": Point("the answer is kept under the key, and not sent", "the client asks again and hears that very answer"),
    "Q0": Point("a record is judged to be bad, in memory", _ONE_LETTER),
    "Q1": Point("half of the statement's bytes are sent", _ONE_LETTER),
    "Q2": Point("the statement is sent, and perhaps not executed", _ONE_LETTER),
    "Q2a": Point("its answer has come, and nobody has read it", _ONE_LETTER),
    "Q3": Point("the offset behind it is sent to Kafka", _ONE_LETTER),
    "Q4": Point("the letter is sent to the dead-letter topic, and not acknowledged", _ONE_LETTER),
    "Q5": Point("it is acknowledged, and not marked", _ONE_LETTER),
    "P1": Point("a transaction has begun", _ONE_EFFECT),
    "P2": Point("the rows of the commands are taken", _ONE_EFFECT),
    "P3": Point("the effects are written", _ONE_EFFECT),
    "P4": Point("the replies are written", _ONE_EFFECT),
    "P5": Point("COMMIT is sent, and perhaps not executed", _ONE_EFFECT),
    "P5a": Point("its answer has come, and nothing is published", "the reply leaves from the outbox, once at least"),
    "P6": Point("the request that carries the replies is sent, and not answered", _ONE_EFFECT),
    "P6a": Point("Kafka has acknowledged it, and the rows are still there", _ONE_EFFECT),
    "P7": Point("the offsets are sent to Kafka", _ONE_EFFECT),
    "P7a": Point("Kafka has stored them", "the command does not come again"),
    "S0": Point("the definitions are registered", _TAKEN_OVER),
    "S1": Point("the claim of the partitions is sent, and perhaps not executed", _TAKEN_OVER),
    "S2": Point("its answer has come, and nobody has read it", _TAKEN_OVER),
    "S3": Point("the outbox is swept, and no partition is open", _TAKEN_OVER),
    "S4": Point("the partitions are open, and nothing is polled", _TAKEN_OVER),
    "M1": Point("the migrators' lock is taken", _CLEAN),
    "M2": Point("statements of the first migration are executed", _CLEAN),
    "M3": Point("statements of the second migration are executed", _CLEAN),
    "M4": Point("statements of the third migration are executed", _CLEAN),
    "M5": Point("the version's row is written, one per migration", _CLEAN),
    "M9": Point("all of them are executed, and COMMIT is not sent", _CLEAN),
    "M10": Point("COMMIT is sent, and perhaps not executed: first the migrations', then that of the rights", _CLEAN),
    "M11": Point("its answer has come, and nobody has read it: first the migrations', then the rights'", _CLEAN),
    "M12": Point("everything is done, and the program has not ended", _CLEAN),
}

COLLAPSED: Final[dict[str, tuple[str, ...]]] = {
    "R2": ("R5", "R8"),
    "R3": ("R8", "R9"),
    "R4": ("R8", "R9"),
    "R6": ("R8", "R9"),
    "R7": ("R8", "R9"),
    "T1": ("T2", "T3"),
    "A2": ("A3", "A4"),
    "B1": ("B0", "B3"),
    "B2": ("B3", "B4"),
}
"""Steps inside of one statement, and the points that stand for them."""

PATHS: Final = tuple(dict.fromkeys(name[0] for name in POINTS))

_ARMED = re.compile(r"([A-Z]\d+[a-z]?):([1-9]\d*)(:backward)?")


class NoSuchPoint(ValueError):
    """What was asked for names no point of the table; the text is a sentence."""


@dataclass(frozen=True)
class Armed:
    """At which point, and at which of its passages, a process is killed.

    With `backward` only those passages count whose work undoes something.
    """

    point: str
    hit: int
    backward: bool = False

    def __str__(self) -> str:
        return f"{self.point}:{self.hit}{':backward' if self.backward else ''}"


def read_armed(text: str) -> Armed:
    """Read `R9:2` or `R9:2:backward`; raises NoSuchPoint."""
    found = _ARMED.fullmatch(text)
    if found is None:
        raise NoSuchPoint(f"{text!r} is no point and passage, such as R9:2 or R9:2:backward")
    point = found[1]
    if point in COLLAPSED:
        instead = " and ".join(COLLAPSED[point])
        raise NoSuchPoint(f"{point} lies inside of one statement, where no client can die: {instead} stand for it")
    if point not in POINTS:
        raise NoSuchPoint(f"there is no point {point}; there are {', '.join(POINTS)}")
    return Armed(point, int(found[2]), backward=found[3] is not None)


def points_of(path: str) -> list[str]:
    """The points of a path, in their order."""
    return [name for name in POINTS if name.startswith(path)]
