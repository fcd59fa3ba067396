"""A definition as a text table for a terminal of 120 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel

from coordinator.describe.words import duration, function
from coordinator.saga.definition import Retry, SagaDefinition, Step
from coordinator.saga.paths import walk

WIDTH = 120
_GAP = "  "
_HEADS = ("step", "kind", "participant", "action", "compensation", "timeout", "attempts", "more")


def table(definition: SagaDefinition) -> str:
    """Write what a definition says: head lines, then one row per step."""
    rows = [_HEADS, *(_row(step) for step in definition.steps)]
    widths = _widths(rows)
    lines = [*_head(definition), ""]
    for number, row in enumerate(rows):
        lines += _laid_out(row, widths)
        if number == 0:
            lines.append(_GAP.join("-" * width for width in widths))
    return "\n".join([*lines, *_payloads(definition)])


def _payloads(definition: SagaDefinition) -> Iterator[str]:
    """The payloads that are made of paths, which are too long for a column."""
    made = [step for step in definition.steps if isinstance(step.payload, Mapping)]
    if made:
        yield ""
        yield "payloads"
    for step in made:
        fields = [f"{name} = {path}" for name, path in walk(cast("Mapping[str, Any]", step.payload))]
        yield f"  {step.name}"
        yield from _folded("    ", [*(f"{field}," for field in fields[:-1]), *fields[-1:]])


def _head(definition: SagaDefinition) -> Iterator[str]:
    yield f"{definition.name} version {definition.version}"
    deadline = "none" if definition.deadline is None else duration(definition.deadline)
    recovery = "as the coordinator's settings say" if definition.recovery is None else _retry(definition.recovery)
    for name, value in (
        ("business key", definition.business_key),
        ("deadline", deadline),
        ("recovery", recovery),
        ("input", f"{definition.input.__name__}: {', '.join(_fields(definition.input))}"),
        ("sensitive", ", ".join(_sensitive(definition)) or "nothing"),
    ):
        yield from _folded(f"{name + ':':14}", value.split(" "))


def _folded(label: str, words: list[str]) -> Iterator[str]:
    """Lines of at most WIDTH that begin below the label's end; a word that is longer stays whole."""
    line = label
    for word in words:
        if len(line) + len(word) > WIDTH and line.strip() and len(line) > len(label):
            yield line.rstrip()
            line = " " * len(label)
        line += f"{word} "
    yield line.rstrip()


def _fields(model: type[BaseModel]) -> list[str]:
    return [name if field.is_required() else f"{name} (optional)" for name, field in model.model_fields.items()]


def _sensitive(definition: SagaDefinition) -> list[str]:
    """What is masked, each path with what it begins from: `input.card.token`, `pay.result.iban`."""
    of_input = [f"input.{path}" for path in definition.sensitive]
    return of_input + [f"{step.name}.{path}" for step in definition.steps for path in step.sensitive]


def _retry(retry: Retry) -> str:
    pauses = f"pauses from {duration(retry.base)} times {retry.factor:g} up to {duration(retry.cap)}"
    return f"{retry.attempts} tries, {pauses}" if retry.attempts else "none: a person is asked at once"


def _row(step: Step) -> tuple[str, ...]:
    more = "; ".join(_more(step)) or "-"
    if step.external:
        return step.name, step.kind, "external", "-", "-", duration(step.timeout), "-", more
    undo = step.compensation or "-"
    attempts = f"{step.retry.attempts}"
    if step.compensation:
        attempts += f", undo {step.compensation_retry.attempts}"
    return step.name, step.kind, step.participant, step.action, undo, duration(step.timeout), attempts, more


def _more(step: Step) -> Iterator[str]:
    if step.group is not None:
        yield f"group {step.group}"
    if step.when is not None:
        yield f"when: {function(step.when)}"
    if callable(step.payload):
        yield f"payload: {function(step.payload)}"
    elif step.payload is not None:
        yield "payload: below"
    if step.progress_max is not None:
        yield f"progress up to {duration(step.progress_max)}"
    if step.compensation_timeout is not None:
        yield f"undo within {duration(step.compensation_timeout)}"


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    """As wide as the cells, and where that is more than the terminal, the widest columns give way."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = WIDTH - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths


def _laid_out(row: tuple[str, ...], widths: list[int]) -> Iterator[str]:
    cells = [_cell(text, width) for text, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        parts: list[Any] = [cell[number] if number < len(cell) else "" for cell in cells]
        yield _GAP.join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True)).rstrip()


def _cell(text: str, width: int) -> list[str]:
    """A cell's lines: broken at spaces, and within a word only where the word is wider than its column."""
    lines = [""]
    for word in text.split(" "):
        rest = word
        if lines[-1] and len(lines[-1]) + 1 + len(rest) <= width:
            lines[-1] += f" {rest}"
            continue
        if lines[-1]:
            lines.append("")
        while len(rest) > width:
            lines[-1], rest = rest[:width], rest[width:]
            lines.append("")
        lines[-1] = rest
    return lines
