"""`saga doctor`: over the API for whoever has a key, with the servers themselves for whoever has the settings."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import typer
from rich.text import Text

from coordinator.errors import ConfigurationError
from coordinator.exits import ExitCode
from coordinator.findings import Finding, State
from coordinator.remote.checkup import examine, has_settings
from coordinator.remote.contexts import names_server
from coordinator.remote.output import Output, plain, styled
from coordinator.remote.session import Session, command

app = typer.Typer()

_NO_SETTINGS = (
    "rights, log days, clock of Postgres, relay, topics, owners, lag: they need the servers themselves; set"
    " SAGA_DATABASE__URL and SAGA_KAFKA__BOOTSTRAP_SERVERS as the coordinator has them"
)


@app.command("doctor")
@command
def doctor(session: Session) -> None:
    """Check everything, and say what to do about what is wrong; exit code 1 when something is bad.

    Over the API: the server and its own checks, clock, key, definitions, participants, incidents, dead letters. With a
    coordinator's settings in the environment also the servers themselves: database, rights, migrations, clock, relay,
    versions, topics, owners of partitions, lag.
    """
    findings = []
    for finding in _all(session):
        findings.append(finding)
        if session.output.for_people:
            _tell(session.output, finding)
    if not session.output.for_people:
        session.output.items([msgspec.to_builtins(finding) for finding in findings], [])
    bad = sum(finding.state is State.BAD for finding in findings)
    if session.output.for_people:
        warned = sum(finding.state is State.WARN for finding in findings)
        session.output.say(f"{len(findings)} checks: {bad} bad, {warned} to look at")
    if bad:
        raise typer.Exit(ExitCode.NO)


def _all(session: Session) -> Iterator[Finding]:
    settled = has_settings()
    if settled:
        yield from _here()
    else:
        yield Finding("servers", State.SKIPPED, _NO_SETTINGS)
    if settled and not names_server(session.asked, os.environ):
        yield Finding("server", State.SKIPPED, "no server is named: --url, --context or SAGA_URL")
    else:
        yield from examine(session.client)


def _here() -> Iterable[Finding]:
    """The checks with the servers themselves; what they need is loaded for them only."""
    settings: Any = importlib.import_module("coordinator.settings")
    try:
        read = settings.read_settings()
    except ConfigurationError as error:
        return [Finding("settings", State.BAD, str(error), "mend the variables that are named (docs/settings.md)")]
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it says, the findings say
    inside: Any = importlib.import_module("coordinator.doctor")

    async def found() -> list[Finding]:
        return [finding async for finding in inside.Doctor(read).examine()]

    return [Finding("settings", State.OK, "they can be read"), *asyncio.run(found())]


def _tell(output: Output, finding: Finding) -> None:
    line = Text.assemble(styled(finding.state.value.ljust(8)), f"{finding.check:<15} ", plain(finding.found))
    line.stylize(_STYLES[finding.state], 0, 8)
    output.console.print(line)
    if finding.advice:
        output.console.print(Text.assemble(" " * 24, ("-> " + plain(finding.advice), "bold")))


_STYLES = {State.OK: "green", State.WARN: "yellow", State.BAD: "bold red", State.SKIPPED: "dim"}
