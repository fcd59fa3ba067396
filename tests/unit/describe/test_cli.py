"""`saga definitions` shows what a definition says, in three shapes, and writes the document of its messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.describe.document import document
from coordinator.describe.flowchart import mermaid
from coordinator.describe.table import table
from tests.unit.describe.holiday import holiday, parcels

PUBLISHED = Path(__file__).parents[3] / "docs" / "asyncapi.json"
OURS = {"SAGA_DEFINITIONS": "tests.unit.describe.several"}


def printed(*words: str, env: dict[str, str] | None = None) -> str:
    done = CliRunner().invoke(app, ["definitions", *words], env=env)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_definition_is_shown_as_table_drawing_or_json() -> None:
    """The table is what a person gets without asking for anything."""
    assert printed("show", "Holiday", env=OURS) == table(holiday) + "\n"
    assert printed("show", "Holiday", "--format", "mermaid", env=OURS) == mermaid(holiday) + "\n"
    assert json.loads(printed("show", "Holiday", "--format", "json", env=OURS)) == document(holiday)


def test_the_newest_version_is_shown_unless_another_is_named() -> None:
    """An older version can still be looked at while sagas of it run."""
    assert printed("show", "Parcel", env=OURS) == table(parcels[1]) + "\n"
    assert printed("show", "Parcel", "--version", "1", env=OURS) == table(parcels[0]) + "\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "Nope"), "saga: there is no definition Nope; known are: Holiday (2), Parcel (1), Parcel (2)\n"),
        (("show", "Parcel", "--version", "7"), "saga: there is no definition Parcel version 7; known are: "),
        (("show", "Parcel", "--format", "pdf"), "--format"),
        (("asyncapi", "-o", "/nowhere/at/all.json"), "/nowhere/at/all.json: No such file or directory"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_sentence(words: tuple[str, ...], sentence: str) -> None:
    """The exit code is 2, nothing is printed, and the text says what there is."""
    done = CliRunner().invoke(app, ["definitions", *words], env={**OURS, "COLUMNS": "200"})
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_the_asyncapi_document_is_printed_or_written(tmp_path: Path) -> None:
    """Without settings of its own it is the published one."""
    file = tmp_path / "asyncapi.json"
    assert printed("asyncapi", "-o", str(file)) == ""
    assert file.read_text(encoding="utf-8") == printed("asyncapi") == PUBLISHED.read_text(encoding="utf-8")


def test_the_document_names_topics_as_the_settings_do() -> None:
    """Another prefix and other partition counts are those of this installation."""
    env = {**OURS, "SAGA_TOPIC_PREFIX": "shop.", "SAGA_KAFKA__COMMANDS_PARTITIONS": "4"}
    channel = json.loads(printed("asyncapi", env=env))["channels"]["carrier.commands"]
    assert channel["address"] == channel["bindings"]["kafka"]["topic"] == "shop.carrier.commands"
    assert channel["bindings"]["kafka"]["partitions"] == 4
