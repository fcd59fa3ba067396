"""docs/semantics.md says what the code does: its tables are printed from it, its proofs exist."""

from __future__ import annotations

import re
from pathlib import Path

from coordinator.saga.diagram import LEADS_TO, mermaid, reasons, table
from coordinator.saga.machine import TRANSITIONS

ROOT = Path(__file__).parents[3]
DOC = ROOT / "docs" / "semantics.md"
PRINTED = {"diagram": f"```mermaid\n{mermaid()}\n```", "table": table(), "reasons": reasons()}


def test_the_printed_parts_agree_with_the_code(rewrite: bool) -> None:
    """Diagram, table and reasons are the machine's own; `pytest --rewrite` prints them anew."""
    written = printed = DOC.read_text()
    for name, text in PRINTED.items():
        before, rest = printed.split(f"<!-- printed: {name} -->\n")
        after = rest.split("<!-- end -->", 1)[1]
        printed = f"{before}<!-- printed: {name} -->\n{text}\n<!-- end -->{after}"
    if rewrite:
        DOC.write_text(printed)
    else:
        assert printed == written


def test_every_proof_that_is_named_exists() -> None:
    """Each scenario that is linked and each test that is named can be found."""
    text = DOC.read_text()
    links = re.findall(r"\]\((\.\./[^)]+)\)", text)
    assert links
    assert [link for link in links if not (DOC.parent / link).exists()] == []
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_every_rule_says_where_it_leads() -> None:
    """The diagram knows every rule of the table, and no other."""
    assert set(LEADS_TO) == set(TRANSITIONS.values())
