"""The command `saga test`: scenarios against the definitions that the settings name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coordinator.definitions import load_definitions
from coordinator.errors import SagaError
from coordinator.exits import ExitCode
from coordinator.saga.definition import SagaDefinition
from coordinator.scenario.files import difference
from coordinator.scenario.parser import ScenarioError
from coordinator.settings import read_settings

DIFFERS, UNPLAYABLE = ExitCode.NO, ExitCode.USAGE


def play(
    files: Annotated[list[Path], typer.Argument(help="scenario files, usually *.saga", show_default=False)],
    rewrite: Annotated[bool, typer.Option("--rewrite", help="write the files anew as they should read")] = False,
) -> None:
    """Play scenarios against the definitions: 0 when all agree, 1 when one differs, 2 when one cannot be played."""
    known = _definitions()
    differing = unplayable = 0
    for file in files:
        try:
            lines = difference(file, known, rewrite=rewrite)
        except ScenarioError as error:
            sys.stderr.write(f"saga: {error}\n")
            unplayable += 1
            continue
        if lines:
            typer.echo("\n".join(lines))
            differing += 1
    agreeing = len(files) - differing - unplayable
    typer.echo(f"{agreeing} agree, {differing} {'written anew' if rewrite else 'differ'}, {unplayable} unplayable")
    if unplayable:
        raise typer.Exit(UNPLAYABLE)
    if differing and not rewrite:
        raise typer.Exit(DIFFERS)


def _definitions() -> tuple[SagaDefinition, ...]:
    try:
        return load_definitions(read_settings().definitions)
    except SagaError as error:
        sys.stderr.write(f"saga: {error}\n")
        raise typer.Exit(UNPLAYABLE) from error
