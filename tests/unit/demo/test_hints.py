"""What `KEEP=1` prints can be typed, whichever family was told."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.demo.families import FAMILIES, Chapter
from deploy.demo.hints import hints
from deploy.demo.stories.model import Family
from participants.kit.faults import KINDS
from sagas import definitions

SITE: Any = SimpleNamespace(
    api_url="http://127.0.0.1:8080",
    metrics_url="http://127.0.0.1:9464",
    environment={"SAGA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9092"},
    topic_prefix="saga.",
    database_url="postgresql://saga@127.0.0.1/saga_demo",
)
SHIPPED = {definition.name: definition for definition in definitions}


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.stuck], ids=lambda family: family.name)
def test_each_family_has_something_to_try(family: Family) -> None:
    """A shell takes the lines; the two sagas that they start fit the definition, and the fault is one that there is."""
    lines = list(hints(SITE, (Chapter(family, family.stories(1)),), Path("logs")))
    [start, stuck] = [shlex.split(line) for line in lines if '"definition"' in line]
    for words, number in ((start, 1), (stuck, 2)):
        body = json.loads(words[words.index("-d") + 1])
        assert body["definition"] == family.definition
        assert body["input"][family.key] == f"my-{family.thing}-{number}"
        SHIPPED[family.definition].input.model_validate_json(json.dumps(body["input"]), strict=True)
    [fault] = [shlex.split(line) for line in lines if ".faults set " in line]
    _, participant, kind, _, command, *_ = fault[fault.index("set") :]
    assert participant in family.participants
    assert kind in KINDS
    assert command in family.commands
    first = next(place for place, line in enumerate(lines) if line.startswith("#"))
    for line in lines[first:]:
        assert subprocess.run(["sh", "-n", "-c", line], check=False).returncode == 0


def test_a_family_with_nothing_to_try_still_says_where_everything_is() -> None:
    """Addresses and logs are printed in any case."""
    [watched] = [family for family in FAMILIES if family.stuck is None]
    lines = list(hints(SITE, (Chapter(watched, watched.stories(1)),), Path("logs")))
    assert lines[0].startswith("REST API   http://127.0.0.1:8080/v1/sagas")
    assert lines[-1] == "logs       logs"
