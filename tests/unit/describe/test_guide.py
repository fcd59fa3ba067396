"""docs/definitions.md is true: its code runs, its refusals are the real ones, its pictures are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from coordinator.describe.flowchart import mermaid
from coordinator.describe.table import table
from coordinator.errors import DefinitionError
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.model import Kind
from sagas import definitions

GUIDE = Path(__file__).parents[3] / "docs" / "definitions.md"
PIECE = re.compile(r"^```python\n(.*?)^```\n(?:\n> ([^\n]*)\n)?", re.DOTALL | re.MULTILINE)


def played() -> dict[str, Any]:
    """Run the pieces that are not refused, one after the other, and answer the names that they leave."""
    names: dict[str, Any] = {"__name__": "guide"}
    for code, refusal in PIECE.findall(GUIDE.read_text(encoding="utf-8")):
        if not refusal:
            exec(code, names)  # noqa: S102
    return names


def pictures(definition: SagaDefinition) -> str:
    return f"```text\n{table(definition)}\n```\n\n```mermaid\n{mermaid(definition)}\n```\n"


def test_the_code_of_the_guide_runs_and_uses_all_that_it_explains() -> None:
    """Whoever types it gets a definition with every kind of step, and a second version."""
    trip, second = played()["definitions"]
    assert (trip.version, second.version) == (1, 2)
    assert {step.kind for step in trip.steps} == set(Kind)
    assert any(step.external for step in trip.steps)
    assert [len(stage) for stage in trip.stages] == [2, 1, 1, 1, 1]
    assert trip.deadline
    assert trip.recovery


def test_what_the_guide_says_is_refused_is_refused_with_that_sentence() -> None:
    """The sentence below a piece of code is the one that its author would read."""
    names = played()
    refused = [(code, sentence) for code, sentence in PIECE.findall(GUIDE.read_text(encoding="utf-8")) if sentence]
    assert len(refused) == 4
    for code, sentence in refused:
        with pytest.raises(DefinitionError) as error:
            exec(code, names)  # noqa: S102
        assert str(error.value) == sentence


def test_the_printed_parts_are_those_of_the_definitions(rewrite: bool) -> None:
    """Tables and drawings of the guide's own definition and of all that ship; `pytest --rewrite` prints them anew."""
    shipped = "\n".join(f"### {one.name}, version {one.version}\n\n{pictures(one)}" for one in definitions)
    written = printed = GUIDE.read_text(encoding="utf-8")
    for name, text in {"guide": pictures(played()["trip"]), "shipped": shipped}.items():
        before, rest = printed.split(f"<!-- printed: {name} -->\n")
        after = rest.split("<!-- end -->", 1)[1]
        printed = f"{before}<!-- printed: {name} -->\n{text}<!-- end -->{after}"
    if rewrite:
        GUIDE.write_text(printed, encoding="utf-8")
    else:
        assert printed == written


def test_every_link_of_the_guide_leads_to_a_file() -> None:
    """Nothing is promised that is not there."""
    links = re.findall(r"\]\(([^)#]+)\)", GUIDE.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (GUIDE.parent / link).exists()] == []
