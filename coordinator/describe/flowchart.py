"""A definition as a Mermaid flowchart: stages downwards, the undoing as a dashed lane that runs the other way.

a box             a compensatable step      a parallelogram   an external step
a hexagon         the pivot                 a double box      a retriable step
a diamond         a condition               a rounded box     a compensation
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from coordinator.describe.words import function
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.model import Kind

_DELICATE = re.compile(r"[^A-Za-z0-9 _.,:/()-]")
_SHAPES = {
    Kind.COMPENSATABLE: ("[", "]"),
    Kind.PIVOT: ("{{", "}}"),
    Kind.RETRIABLE: ("[[", "]]"),
}
_EXTERNAL = ("[/", "/]")
_STYLES = (
    "classDef pivot stroke-width:4px",
    "classDef external stroke-dasharray:2 2",
    "classDef undo stroke-dasharray:5 5",
)


@dataclass
class _Drawing:
    """The lines so far, and the loose ends: nodes that lead on to what comes next, each with its edge's label."""

    lines: list[str] = field(default_factory=list)
    ends: list[tuple[str, str]] = field(default_factory=list)

    def join(self, node: str) -> None:
        """Let every loose end lead to `node`."""
        self.lines += [_edge(end, node, label) for end, label in self.ends]
        self.ends = [(node, "")]


def mermaid(definition: SagaDefinition) -> str:
    """Draw a definition as the text of a Mermaid flowchart."""
    drawing = _Drawing(["flowchart TD", f'begin(["{_text(f"{definition.name} version {definition.version}")}"])'])
    drawing.ends = [("begin", "")]
    for number, stage in enumerate(definition.stages):
        group = definition.steps[stage[0]].group
        if group is None:
            _draw_step(drawing, definition, stage[0])
        else:
            _draw_group(drawing, definition, number, stage)
    drawing.lines.append('completed(["completed"])')
    drawing.join("completed")
    _draw_undoing(drawing, definition)
    return "\n    ".join([*drawing.lines, *_STYLES])


def _draw_step(drawing: _Drawing, definition: SagaDefinition, position: int) -> None:
    step = definition.steps[position]
    if step.when is not None:
        condition = f"when{position}"
        drawing.lines.append(f'{condition}{{"{_text(function(step.when))}"}}')
        drawing.join(condition)
        drawing.ends = [(condition, "yes")]
    node = f"step{position}"
    drawing.lines.append(_node(node, step))
    drawing.join(node)
    if step.when is not None:
        drawing.ends.append((f"when{position}", "no"))


def _draw_group(drawing: _Drawing, definition: SagaDefinition, number: int, stage: tuple[int, ...]) -> None:
    group = definition.steps[stage[0]].group or ""
    fork, join = f"fork{number}", f"join{number}"
    drawing.lines.append(f'{fork}(("all"))')
    drawing.join(fork)
    ends: list[tuple[str, str]] = []
    drawing.lines.append(f'subgraph group{number}["{_text(group)}"]')
    for position in stage:
        drawing.ends = [(fork, "")]
        _draw_step(drawing, definition, position)
        ends += drawing.ends
    drawing.lines += ["end", f'{join}(("join"))']
    drawing.ends = ends
    drawing.join(join)


def _draw_undoing(drawing: _Drawing, definition: SagaDefinition) -> None:
    """The compensations, latest first: each hangs on its step, and leads to the one that is sent after it."""
    undone = [position for position, step in enumerate(definition.steps) if step.compensation]
    if not undone:
        return
    for position in undone:
        step = definition.steps[position]
        label = _text(f"{step.participant}: {step.compensation}")
        drawing.lines.append(f'undo{position}("{label}"):::undo')
        drawing.lines.append(f'step{position} -. "undone by" .-> undo{position}')
    drawing.lines.append('failed(["failed"])')
    nodes = [*(f"undo{position}" for position in reversed(undone)), "failed"]
    drawing.lines += [f"{one} -.-> {other}" for one, other in itertools.pairwise(nodes)]


def _node(name: str, step: Step) -> str:
    opening, closing = _EXTERNAL if step.external else _SHAPES[step.kind]
    does = "external" if step.external else f"{step.participant}: {step.action}"
    lines = [step.name, does, *(["point of no return"] if step.kind is Kind.PIVOT else [])]
    mark = ":::external" if step.external else ":::pivot" if step.kind is Kind.PIVOT else ""
    return f'{name}{opening}"{"<br/>".join(map(_text, lines))}"{closing}{mark}'


def _edge(source: str, target: str, label: str) -> str:
    return f'{source} -->|"{label}"| {target}' if label else f"{source} --> {target}"


def _text(text: str) -> str:
    """Text that means nothing to Mermaid: what could is written as a number."""
    return _DELICATE.sub(lambda found: f"#{ord(found[0])};", text)
