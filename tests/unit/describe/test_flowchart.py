"""A definition's drawing shows every way through it."""

from __future__ import annotations

import re

import pytest

from coordinator.describe.flowchart import mermaid
from coordinator.saga.definition import SagaDefinition
from sagas import definitions
from tests.unit.describe.holiday import holiday, parcels

NODE = r"[a-z]+\d*"
LABEL = r'"[A-Za-z0-9 _.,:/()#;<>-]*"'
LINE = re.compile(
    rf"""flowchart\ TD | end | classDef\ \w+\ [\w:. -]+ | subgraph\ {NODE}\[{LABEL}\]
      | {NODE}[(\[{{/]+{LABEL}[)\]}}/]+(:::\w+)?
      | {NODE}\ (-->(\|{LABEL}\|)? | -\.->|-\.\ {LABEL}\ \.->)\ {NODE}""",
    re.VERBOSE,
)


def edges(definition: SagaDefinition) -> set[tuple[str, str, str]]:
    """List the solid edges as (from, label, to)."""
    found = re.findall(rf'({NODE}) -->(?:\|"(\w+)"\|)? ({NODE})', mermaid(definition))
    return {(source, label, target) for source, label, target in found}


def dashed(definition: SagaDefinition) -> list[tuple[str, str]]:
    return re.findall(rf'({NODE}) -\.(?: "undone by" \.)?-?> ({NODE})', mermaid(definition))


@pytest.mark.parametrize("definition", [*definitions, holiday, *parcels], ids=lambda one: one.name)
def test_every_line_is_mermaid(definition: SagaDefinition) -> None:
    """Whatever a docstring says, labels hold no sign that means something to Mermaid."""
    assert [line for line in mermaid(definition).splitlines() if not LINE.fullmatch(line.strip())] == []


def test_a_group_forks_and_joins_and_conditions_have_two_ways() -> None:
    """A step that is left out is walked around; a drawing shows both."""
    assert edges(holiday) == {
        ("begin", "", "fork0"),
        ("fork0", "", "step0"),
        ("fork0", "", "when1"),
        ("when1", "yes", "step1"),
        ("step0", "", "join0"),
        ("step1", "", "join0"),
        ("when1", "no", "join0"),
        ("join0", "", "when2"),
        ("when2", "yes", "step2"),
        ("step2", "", "step3"),
        ("when2", "no", "step3"),
        ("step3", "", "step4"),
        ("step4", "", "step5"),
        ("step5", "", "completed"),
    }


def test_undoing_runs_the_other_way_and_ends_failed() -> None:
    """Each compensation hangs on its step, and the latest leads to the one before."""
    undo = dashed(definitions[0])
    assert undo[:4] == [(f"step{number}", f"undo{number}") for number in range(4)]
    assert undo[4:] == [("undo3", "undo2"), ("undo2", "undo1"), ("undo1", "undo0"), ("undo0", "failed")]


def test_kinds_have_shapes_of_their_own() -> None:
    """The point of no return is marked, external steps and retriable ones look different."""
    drawn = mermaid(holiday)
    assert 'step3{{"take_payment<br/>payment: ProcessPayment<br/>point of no return"}}:::pivot' in drawn
    assert 'step2[/"approval<br/>external"/]:::external' in drawn
    assert 'step4[["tell<br/>notification: SendLetter"]]' in drawn
    assert 'step0["book_hotel<br/>hotel: BookRoom"]' in drawn
