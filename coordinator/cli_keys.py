"""`saga keys bootstrap`: make a key where the database can be reached, for when there is no other to ask with."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import typer

from coordinator.errors import ConfigurationError, Conflict, SagaError, Unavailable
from coordinator.exits import ExitCode
from coordinator.services import tokens
from coordinator.services.keys import NAME, Keys
from coordinator.settings import Settings, read_settings
from coordinator.store.keys import KeyStore
from coordinator.store.postgres import PostgresStore

app = typer.Typer(no_args_is_help=True, help="API keys.")

Role: TypeAlias = Literal["viewer", "operator", "admin", "service"]
T = TypeVar("T")

ACTOR = "console"
REASON = "made beside the database"
TOKEN_BYTES_MAX = 1024


@app.callback()
def keys() -> None:
    """API keys."""


@app.command()
def bootstrap(
    name: Annotated[str, typer.Argument(help="acts are recorded as those of key:NAME")],
    role: Annotated[Role, typer.Option(help="what the key may do")] = "admin",
    file: Annotated[
        Path | None, typer.Option(help="keep the token in this file, and make no other while that is valid")
    ] = None,
) -> None:
    """Make a key with the database's URL (SAGA_DATABASE__URL) and print its token, and nothing else.

    Each call makes another key; two of one name can be valid. With --file the token is kept there, readable for its
    owner only, and is not printed: a call that finds a valid one there changes nothing, one that finds a revoked or
    expired one puts a new one in its place.
    """
    if not NAME.fullmatch(name):
        raise typer.BadParameter("a name is 1 to 63 of: a-z 0-9 . _ -, and begins with a letter or digit")
    try:
        settings = read_settings()
        if file is None:
            typer.echo(asyncio.run(_with_keys(settings, lambda found: _create(found, name, role))))
        else:
            asyncio.run(_with_keys(settings, lambda found: _keep(found, name, role, file)))
    except ConfigurationError as error:
        _end(error, ExitCode.USAGE)
    except Conflict as error:
        _end(error if file is None else Conflict(f"{file}: {error}"), ExitCode.REFUSED)
    except SagaError as error:
        _end(error, ExitCode.UNAVAILABLE if isinstance(error, Unavailable) else ExitCode.FAILED)
    except OSError as error:
        _end(ConfigurationError(f"{file}: {error.strerror}"), ExitCode.USAGE)


async def _with_keys(settings: Settings, work: Callable[[Keys], Awaitable[T]]) -> T:
    store = PostgresStore(settings.database.url.get_secret_value())
    try:
        return await work(Keys(KeyStore(store)))
    finally:
        await store.stop()


async def _create(found: Keys, name: str, role: Role) -> str:
    return (await found.create(name, role, ACTOR, REASON, "")).token


async def _keep(found: Keys, name: str, role: Role, file: Path) -> None:
    """Make sure that a file holds the token of a valid key.

    A token is written before its key is made: whoever dies in between leaves nothing that the next call cannot use.
    """
    token = _read(file) or _write(file)
    key = await found.ensure(name, role, token, ACTOR)
    if key.state != "valid":
        sys.stderr.write(f"saga: the key {key.id} in {file} is {key.state}; another takes its place\n")
        key = await found.ensure(name, role, _write(file), ACTOR)
    sys.stderr.write(f"saga: {file} holds the key {key.id}, called {key.name}, of role {key.role}\n")


def _read(file: Path) -> str | None:
    try:
        return file.read_bytes()[:TOKEN_BYTES_MAX].decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None


def _write(file: Path) -> str:
    token = tokens.new_token()
    descriptor, written = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{token}\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(written).replace(file)
    except BaseException:
        Path(written).unlink(missing_ok=True)
        raise
    return token


def _end(error: SagaError, code: int) -> None:
    said = f"{error}; try again" if isinstance(error, Unavailable) else str(error)
    sys.stderr.write(f"saga: {said}\n")
    raise typer.Exit(code) from error
