"""What `KEEP=1` prints: where everything is, and lines to try."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.demo.families import Chapter
from deploy.demo.site import Site
from deploy.demo.stories.model import Family, Stuck
from deploy.local.places import PROJECT


def hints(site: Site, chapters: tuple[Chapter, ...], logs: Path) -> Iterator[str]:
    """Write the lines, each ready to be copied into a shell in the project's folder."""
    api, environment = site.api_url, site.environment
    yield f"REST API   {api}/v1/sagas (described by {api}/v1/openapi.json)"
    yield f"metrics    {site.metrics_url}/metrics, health at {api}/readyz"
    yield f"Kafka      {environment['SAGA_KAFKA__BOOTSTRAP_SERVERS']}, topics {site.topic_prefix}*"
    yield f"Postgres   {site.database_url}"
    yield f"logs       {logs}"
    for family in (chapter.family for chapter in chapters):
        if family.stuck is not None:
            yield from _things_to_try(api, site.database_url, family, family.stuck)
            return


def _things_to_try(api: str, database_url: str, family: Family, stuck: Stuck) -> Iterator[str]:
    first_id, version = _read('["sagas"][0]["id"]'), _read('["version"]')
    thing, switch = family.thing, stuck.switch
    yield ""
    yield f"# start {_article(thing)} {thing}, and look at it by its business key"
    yield _start(api, family, f"my-{thing}-1", {})
    yield _curl(f"{api}/v1/sagas?business_key=my-{thing}-1")
    yield f"SAGA=$(curl -s '{api}/v1/sagas?business_key=my-{thing}-1' | {first_id})"
    yield f'curl -s "{api}/v1/sagas/$SAGA?include=log"'
    yield ""
    yield f"# {stuck.told}"
    yield f"export SAGA_DATABASE__URL={shlex.quote(database_url)}"
    faults = f"{_python()} -m participants.kit.faults"
    yield f"{faults} set {switch.participant} {switch.kind} --command {switch.command} --match my-{thing}-2"
    yield _start(api, family, f"my-{thing}-2", stuck.differs)
    yield _curl(f"{api}/v1/sagas?status=suspended")
    yield ""
    yield f"# repair {switch.participant}, and let the saga go on"
    yield f"{faults} clear {switch.participant}"
    yield f"SAGA=$(curl -s '{api}/v1/sagas?status=suspended' | {first_id})"
    yield f'VERSION=$(curl -s "{api}/v1/sagas/$SAGA" | {version})'
    yield (
        f"curl -s -X POST \"{api}/v1/sagas/$SAGA/retry\" -H 'content-type: application/json'"
        f' -d "{{\\"reason\\": \\"{stuck.repaired}\\", \\"expected_version\\": $VERSION}}"'
    )


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _read(where: str) -> str:
    """Write the command that takes one value out of an answer; curl may be all that a machine has."""
    return f"{_python()} -c 'import json, sys; print(json.load(sys.stdin){where})'"


def _python() -> str:
    executable = Path(sys.executable)
    return str(executable.relative_to(PROJECT) if executable.is_relative_to(PROJECT) else executable)


def _curl(url: str) -> str:
    return f"curl -s '{url}'"


def _start(api: str, family: Family, key: str, differs: Mapping[str, Any]) -> str:
    good = family.request(family.stories(1)[0], 1)
    body = {"definition": family.definition, "input": {**good.input, family.key: key, **differs}}
    return f"curl -s -X POST '{api}/v1/sagas' -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"
