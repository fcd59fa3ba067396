"""The commands below `saga definitions`: show one, and write the AsyncAPI document of their messages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn, TypeAlias

import typer

from coordinator.choreography.choreographies import Choreographies
from coordinator.definitions import load_choreographies, load_definitions
from coordinator.describe.asyncapi import asyncapi as asyncapi_document
from coordinator.describe.asyncapi import render
from coordinator.describe.choreographies import choreography_mermaid, choreography_table
from coordinator.describe.document import document
from coordinator.describe.flowchart import mermaid
from coordinator.describe.table import table
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import SagaError
from coordinator.exits import ExitCode
from coordinator.parts import topic_specs
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.content import content_of, read_document
from coordinator.saga.definition import SagaDefinition
from coordinator.settings import Settings, read_settings

app = typer.Typer(help="List the definitions and what runs on them; show one, or write the AsyncAPI document.")

Shape: TypeAlias = Literal["table", "mermaid", "json"]

REFUSED = ExitCode.USAGE


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="the definition's name")],
    version: Annotated[int | None, typer.Option(help="the newest where none is given")] = None,
    shape: Annotated[Shape, typer.Option("--format", help="for people, a drawing, or for programs")] = "table",
) -> None:
    """Show what a definition, or a choreography, says."""
    settings, found = _loaded()
    try:
        choreography = Choreographies(load_choreographies(settings.choreographies)).find(name, version)
        if choreography is not None:
            typer.echo(_drawn(choreography, shape))
        else:
            typer.echo(_shaped(Registry(found).choose(name, version), shape))
    except SagaError as error:
        _refuse(error)


@app.command()
def asyncapi(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a file; else it is printed")] = None,
) -> None:
    """Write the AsyncAPI 3 document of all messages, for participants in any language."""
    settings, found = _loaded()
    try:
        specs = topic_specs(settings, Registry(found).participants)
        topology = Topology(settings.topic_prefix, {spec.name: spec.partitions for spec in specs})
        text = render(asyncapi_document(found, topology))
    except SagaError as error:
        _refuse(error)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from error


def _shaped(definition: SagaDefinition, shape: Shape) -> str:
    if shape == "json":
        return json.dumps(document(definition), indent=2, ensure_ascii=False)
    return mermaid(definition) if shape == "mermaid" else table(definition)


def _drawn(choreography: ChoreographyDefinition, shape: Shape) -> str:
    if shape == "json":
        return json.dumps(read_document(content_of(choreography).document), indent=2, ensure_ascii=False)
    return choreography_mermaid(choreography) if shape == "mermaid" else choreography_table(choreography)


def _loaded() -> tuple[Settings, tuple[SagaDefinition, ...]]:
    try:
        settings = read_settings()
        return settings, load_definitions(settings.definitions, settings.participants)
    except SagaError as error:
        _refuse(error)


def _refuse(error: SagaError) -> NoReturn:
    sys.stderr.write(f"saga: {error}\n")
    raise typer.Exit(REFUSED) from error
