"""The command `saga`: serve, migrate, topics, definitions, test."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import structlog
import typer
import uvloop

from coordinator.bootstrap import Coordinator, Role, security, topic_specs
from coordinator.definitions import load_definitions
from coordinator.engine.registry import Registry
from coordinator.errors import ConfigurationError, SagaError, Unavailable
from coordinator.kafka.topics import ensure_topics
from coordinator.observability import logs
from coordinator.saga.definition import SagaDefinition
from coordinator.scenario.files import difference
from coordinator.scenario.parser import ScenarioError
from coordinator.settings import Settings, read_settings
from coordinator.store.migrations import migrate as run_migrations

log = structlog.get_logger()
app = typer.Typer(no_args_is_help=True, add_completion=False, help="A saga coordinator over Kafka and Postgres.")

WRONG_SETTING, FAILED = 2, 3
DIFFERS, UNPLAYABLE = 1, 2
PATIENCE_TRIES, PATIENCE_S = 15, 2.0


@app.command()
def serve(
    role: Annotated[str, typer.Option(help="api, engine, or all (both in one process)")] = "all",
) -> None:
    """Run the coordinator until SIGTERM."""
    if role not in get_args(Role):
        raise typer.BadParameter("must be api, engine or all", param_hint="--role")
    chosen = cast("Role", role)
    _run(lambda settings: _serve(settings, chosen))


@app.command()
def migrate() -> None:
    """Bring the database to the newest migration."""
    _run(lambda settings: _patiently(lambda: run_migrations(settings.database.url.get_secret_value())))


@app.command()
def topics() -> None:
    """Create the topics that are missing, and check the partition counts of the others."""
    _run(lambda settings: _patiently(lambda: _topics(settings)))


@app.command()
def definitions() -> None:
    """List the saga definitions with their steps."""
    for definition in _definitions():
        typer.echo(f"{definition.name} version {definition.version}")
        for step in definition.steps:
            undo = step.compensation or "-"
            typer.echo(f"  {step.name:24} {step.participant:14} {step.action:24} {undo:24} {step.timeout}")


@app.command("test")
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


async def _patiently(action: Callable[[], Awaitable[None]]) -> None:
    """Give Postgres or Kafka a while to come up, saying so; raises Unavailable when they do not."""
    for tries in range(PATIENCE_TRIES, -1, -1):
        try:
            await action()
        except Unavailable as error:
            if tries == 0:
                raise
            sys.stderr.write(f"saga: {error}; trying again\n")
            await asyncio.sleep(PATIENCE_S)
        else:
            return


async def _serve(settings: Settings, role: Role) -> None:
    coordinator = Coordinator(settings, role)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, coordinator.stop)
    await coordinator.run()


async def _topics(settings: Settings) -> None:
    registry = Registry(load_definitions(settings.definitions))
    specs = topic_specs(settings, registry.participants)
    counts = await ensure_topics(settings.kafka.bootstrap_servers, specs, security=security(settings))
    for name, count in sorted(counts.items()):
        typer.echo(f"{name}: {count} partitions")


def _definitions() -> tuple[SagaDefinition, ...]:
    settings = _settings()
    try:
        return load_definitions(settings.definitions)
    except ConfigurationError as error:
        _end(error, WRONG_SETTING)
        raise


def _settings() -> Settings:
    try:
        return read_settings()
    except ConfigurationError as error:
        _end(error, WRONG_SETTING)
        raise


def _run(action: Any) -> None:
    settings = _settings()
    logs.configure(settings.log.level)
    _calm_the_collector()
    try:
        work: Coroutine[Any, Any, None] = action(settings)
        uvloop.run(work)
    except ConfigurationError as error:
        _end(error, WRONG_SETTING)
    except SagaError as error:
        _end(error, FAILED)


def _calm_the_collector() -> None:
    """Let Python's cycle collector look rarely: the hot path makes many short-lived objects and next to no cycles.

    What start-up made is never looked at again. With the defaults a tenth of the time of a busy engine went there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _end(error: SagaError, code: int) -> None:
    sys.stderr.write(f"saga: {error}\n")
    raise typer.Exit(code) from error


def main() -> None:
    """Entry point of the console script."""
    app()
