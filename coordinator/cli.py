"""The commands of `saga` that work without the API: serve, migrate, topics, definitions, keys, check, test."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, cast, get_args

import structlog
import typer
import uvloop

from coordinator import cli_definitions, cli_keys, cli_scenarios
from coordinator.bootstrap import Coordinator
from coordinator.check import report as checking
from coordinator.choreography.choreographies import Choreographies
from coordinator.definitions import load_choreographies, load_definitions
from coordinator.engine.registry import Registry
from coordinator.errors import ConfigurationError, DefinitionError, SagaError, Unavailable
from coordinator.exits import ExitCode
from coordinator.kafka.topics import ensure_topics
from coordinator.observability import logs
from coordinator.parts import security, topic_specs
from coordinator.process.shared import Role
from coordinator.saga.definition import SagaDefinition
from coordinator.services.catalogue import definition_lines, list_definitions
from coordinator.settings import Settings, read_settings
from coordinator.store.migrations import migrate as run_migrations
from coordinator.store.reads import DefinitionUse, SagaReads
from coordinator.store.replicas import LIVE_S

log = structlog.get_logger()
app = typer.Typer(no_args_is_help=True, add_completion=False, help="A saga coordinator over Kafka and Postgres.")
app.add_typer(cli_definitions.app, name="definitions")
app.add_typer(cli_keys.app, name="keys")
app.command("test")(cli_scenarios.play)

REFUTED, WRONG_SETTING = ExitCode.NO, ExitCode.USAGE
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
    """Bring the database to the newest migration, and give the application's role its rights."""
    _run(lambda settings: _patiently(lambda: _migrate(settings)))


@app.command()
def topics() -> None:
    """Create the topics that are missing, and check the partition counts of the others."""
    _run(lambda settings: _patiently(lambda: _topics(settings)))


@cli_definitions.app.callback(invoke_without_command=True)
def definitions(context: typer.Context) -> None:
    """List the versions of all definitions, and how many sagas run on each."""
    if context.invoked_subcommand is None:
        _run(_list_definitions)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="a definition's name; all of them if none is given")] = "",
    version: Annotated[int, typer.Option(help="one version of it; all if none is given")] = 0,
) -> None:
    """Search everything that can happen to sagas, and show how a promise breaks if one does. Needs no servers."""
    chosen = [one for one in _definitions() if name in ("", one.name) and version in (0, one.version)]
    if not chosen:
        wanted = name + (f" version {version}" if version else "")
        _end(ConfigurationError(f"SAGA_DEFINITIONS has no definition {wanted}"), WRONG_SETTING)
    _calm_the_collector()
    refuted = False
    for definition in chosen:
        started = time.monotonic()
        report = checking.check(definition, _Progress(definition.name))
        typer.echo("\n".join(report.lines(time.monotonic() - started)))
        refuted = refuted or report.broken is not None
    typer.echo(f"searched for: {checking.PROVEN}")
    typer.echo("\n".join(f"within: {bound}" for bound in checking.BOUNDS))
    if refuted:
        raise typer.Exit(REFUTED)


class _Progress:
    """Tells a waiting person once a second how far a search has come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told = time.monotonic()

    def __call__(self, states: int, transitions: int) -> None:
        now = time.monotonic()
        if now - self._told >= 1:
            self._told = now
            sys.stderr.write(f"{self._name}: {states:,} states, {transitions:,} transitions so far\n")


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


async def _migrate(settings: Settings) -> None:
    database = settings.database
    await run_migrations(database.owner_url, database.url.get_secret_value())


async def _serve(settings: Settings, role: Role) -> None:
    coordinator = Coordinator(settings, role)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, coordinator.stop)
    await coordinator.run()


async def _topics(settings: Settings) -> None:
    registry = Registry(load_definitions(settings.definitions, settings.participants))
    choreographies = Choreographies(load_choreographies(settings.choreographies))
    specs = topic_specs(settings, registry.participants, choreographies.sources)
    counts = await ensure_topics(settings.kafka.bootstrap_servers, specs, security=security(settings))
    for name, count in sorted(counts.items()):
        typer.echo(f"{name}: {count} partitions")


async def _list_definitions(settings: Settings) -> None:
    registry = Registry(load_definitions(settings.definitions, settings.participants))
    reads = SagaReads(settings.database.url.get_secret_value(), 1)
    uses: list[DefinitionUse] = []
    try:
        uses = await reads.definitions(LIVE_S)
    except Unavailable as error:
        sys.stderr.write(f"saga: no counts: {error}\n")
    finally:
        await reads.stop()
    observed = Choreographies(load_choreographies(settings.choreographies)).sizes
    for line in definition_lines(list_definitions(registry, uses, observed)):
        typer.echo(line)


def _settings() -> Settings:
    try:
        return read_settings()
    except ConfigurationError as error:
        _end(error, WRONG_SETTING)
        raise


def _definitions() -> tuple[SagaDefinition, ...]:
    settings = _settings()
    try:
        return load_definitions(settings.definitions, settings.participants)
    except SagaError as error:
        _end(error, WRONG_SETTING)
        raise


def _run(action: Any) -> None:
    settings = _settings()
    logs.configure(settings.log.level)
    _calm_the_collector()
    try:
        work: Coroutine[Any, Any, None] = action(settings)
        uvloop.run(work)
    except (ConfigurationError, DefinitionError) as error:
        _end(error, WRONG_SETTING)
    except Unavailable as error:
        _end(error, ExitCode.UNAVAILABLE)
    except SagaError as error:
        _end(error, ExitCode.FAILED)


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
