"""Choreographies print themselves: for people at a terminal, as a drawing, and in the docs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.describe.choreographies import choreography_mermaid, choreography_table
from sagas.order_choreography import order_choreography

PAGE = Path(__file__).parents[3] / "docs" / "choreography.md"


def test_the_table_says_all() -> None:
    """Each event has a row with who says it, what follows it, and how long that may take."""
    lines = choreography_table(order_choreography).splitlines()
    assert lines[:2] == ["OrderChoreography version 1", "correlation: order_id"]
    rows = [line.split("  ") for line in lines[5:]]
    assert [row[0] for row in rows] == [event.type for event in order_choreography.events]
    assert lines[5].split() == ["OrderCreated", "shop", "InventoryReserved", "or", "InventoryRejected", "2", "min"]
    assert lines[9].split() == ["OrderFulfilled", "notification", "the", "saga", "is", "completed", "-"]


def test_the_page_draws_the_choreography(rewrite: bool) -> None:
    """The picture in docs/choreography.md is printed from the definition; `pytest --rewrite` prints it anew."""
    written = PAGE.read_text()
    before, rest = written.split("<!-- printed: choreography -->\n")
    after = rest.split("<!-- end -->", 1)[1]
    picture = f"```mermaid\n{choreography_mermaid(order_choreography)}\n```"
    printed = f"{before}<!-- printed: choreography -->\n{picture}\n<!-- end -->{after}"
    if rewrite:
        PAGE.write_text(printed)
    else:
        assert printed == written


def test_the_command_shows_choreographies(monkeypatch: pytest.MonkeyPatch) -> None:
    """`saga definitions show` finds a choreography by its name, in each of its shapes, and refuses one that is not."""
    monkeypatch.setenv("SAGA_CHOREOGRAPHIES", "sagas:choreographies")
    show = ["definitions", "show", "OrderChoreography"]
    runner = CliRunner()
    assert runner.invoke(app, show).stdout == choreography_table(order_choreography) + "\n"
    drawn = runner.invoke(app, [*show, "--format", "mermaid"]).stdout
    assert drawn == choreography_mermaid(order_choreography) + "\n"
    said = json.loads(runner.invoke(app, [*show, "--format", "json"]).stdout)
    assert [event["type"] for event in said["events"]] == [event.type for event in order_choreography.events]
    assert runner.invoke(app, [*show, "--version", "2"]).exit_code == 2
