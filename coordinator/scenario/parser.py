"""Reading a scenario: its lines at the margin as verbs with words and options; what follows from them is not read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from coordinator.errors import SagaError

INDENT = "    "
UNTOLD = " ..."

_WORDS = frozenset({"attempt", "problem", "source", "step_name", "command_id"})
_SHAPE = frozenset({"attempts", "undo_attempts", "recovery", "steps", "without_compensation", "deadline"})
# Verb -> the options that it takes; an option that it does not take is most likely a misspelt one.
OPTIONS: Mapping[str, frozenset[str]] = {
    "given": frozenset(),
    "begin": _SHAPE | {"progress_max", "start_in"},
    "reply": _WORDS,
    "outside": frozenset({"by", "problem"}),
    "wait": frozenset(),
    "timer": frozenset({"attempt"}),
    "held": frozenset(),
    "released": frozenset(),
    "retry": frozenset({"by"}),
    "skip": frozenset({"by"}),
    "resolve": frozenset({"by", "problem"}),
    "compensate": frozenset({"by"}),
    "suspend": frozenset({"by"}),
    "resume": frozenset({"by"}),
    "abandon": frozenset({"by"}),
    "show": frozenset(),
}
_BODY = re.compile(r"(?P<said>.*?\s)(?:input=)?(?P<body>\{.*\})", re.DOTALL)
_OPTION = re.compile(r"[a-z_]+=")


class ScenarioError(SagaError):
    """A scenario that cannot be played; the message names the line and says why."""


@dataclass(frozen=True)
class Line:
    """One line at the margin; `verb` is empty for a comment and for a blank line.

    `body` is the JSON object at its end, None without one; `untold` says that its answer is not shown.
    """

    number: int
    text: str
    verb: str = ""
    words: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    untold: bool = False

    def wrong(self, sentence: str) -> ScenarioError:
        """The error of this line."""
        return ScenarioError(f"line {self.number}: {sentence}")

    def option(self, name: str) -> str:
        """An option that must be there; raises ScenarioError."""
        if name not in self.options:
            raise self.wrong(f"{self.verb} needs {name}=")
        return self.options[name]

    def number_of(self, name: str, otherwise: int) -> int:
        """A whole number among the options; raises ScenarioError for anything else."""
        text = self.options.get(name)
        if text is None:
            return otherwise
        if not text.isdecimal():
            raise self.wrong(f"{name}={text} is no whole number")
        return int(text)


def parse(text: str) -> list[Line]:
    """Read the lines at the margin of a scenario; raises ScenarioError with the first that cannot be understood."""
    return [
        _line(number, written)
        for number, written in enumerate(text.splitlines(), start=1)
        if not written.startswith(INDENT)
    ]


def _line(number: int, text: str) -> Line:
    if not text.strip() or text.startswith("#"):
        return Line(number, text)
    bare = Line(number, text)
    said = text.removesuffix(UNTOLD)
    found = _BODY.fullmatch(said)
    body = None
    if found is not None:
        said, body = found["said"], _checked(bare, found["body"])
    try:
        verb, *words = shlex.split(said)
    except ValueError as error:
        raise bare.wrong(f"{error}") from None
    if verb not in OPTIONS:
        raise bare.wrong(f"a scenario cannot say {verb!r}; it can say {', '.join(OPTIONS)}")
    options = dict(word.split("=", 1) for word in words if _OPTION.match(word))
    for unknown in options.keys() - OPTIONS[verb]:
        raise bare.wrong(f"{verb} takes no {unknown}=")
    plain = tuple(word for word in words if not _OPTION.match(word))
    return Line(number, text, verb, plain, options, body, text.endswith(UNTOLD))


def _checked(line: Line, body: str) -> bytes:
    try:
        msgspec.json.decode(body, type=dict)
    except msgspec.DecodeError as error:
        raise line.wrong(f"{body} is no JSON object: {error}") from None
    return body.encode()
