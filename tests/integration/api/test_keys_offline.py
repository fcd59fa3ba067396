"""`saga keys bootstrap` where something is wrong, or is done again; and how a coordinator closes when a key is made."""

from __future__ import annotations

import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from coordinator.cli import app
from coordinator.exits import ExitCode
from coordinator.store.migrations import migrate
from deploy.local.processes import free_port
from deploy.local.stack import LocalStack
from deploy.local.waiting import run_async
from tests.integration.api.server import Api, ask_database, start_api

REVOKE = "UPDATE api_key SET revoked_at = now(), revoked_by = 'ann', revoked_because = 'lost', place = NULL"


@pytest.fixture(scope="module")
def empty(stack: LocalStack) -> Iterator[str]:
    """Give the URL of a database with tables."""
    database = f"keys_{secrets.token_hex(4)}"
    url = stack.create_database(database)
    run_async(migrate(url))
    yield url
    stack.postgres.drop_database(database)


def _bootstrap(url: str, *arguments: str, **settings: str) -> Result:
    with capture_logs():  # the program sends them to standard error
        return CliRunner().invoke(app, ["keys", "bootstrap", *arguments], env={"SAGA_DATABASE__URL": url, **settings})


def _keys(url: str) -> dict[str, str]:
    """Each valid or revoked key's name by its id."""
    return {row["id"]: row["name"] for row in ask_database(url, "SELECT id, name FROM api_key")}


def _name() -> str:
    return f"k-{secrets.token_hex(4)}"


def test_the_first_key_closes_the_door(stack: LocalStack, tmp_path: Path) -> None:
    """On loopback all are served until a key is made; then nobody is without one, even when it is revoked."""
    mark, file = secrets.token_hex(4), tmp_path / "admin"
    api = start_api(stack, f"open-{mark}", f"open_{mark}", f"open{mark}.")
    assert api.get("/v1/whoami").json["authentication"] == "loopback"
    assert api.get("/readyz").json["authentication"] == "loopback"
    assert _bootstrap(api.database_url, "admin", "--file", str(file)).exit_code == 0
    _until(api, 401)
    _until(api, 200, file)
    api.fetch(REVOKE)
    _until(api, 401, file)
    assert _status(api) == 401
    api.child.stop()
    stack.postgres.drop_database(f"open_{mark}")


def _status(api: Api, file: Path | None = None) -> int:
    headers = {} if file is None else {"Authorization": f"Bearer {file.read_text().strip()}"}
    return api.send("GET", "/v1/whoami", None, headers).status


def _until(api: Api, status: int, file: Path | None = None) -> None:
    deadline = time.monotonic() + 10
    while _status(api, file) != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_file_keeps_the_token_of_a_valid_key(empty: str, tmp_path: Path) -> None:
    """With --file the same key is kept over calls, for its owner only; a revoked one is replaced, saying so."""
    name, file = _name(), tmp_path / "admin"
    call = (name, "--file", str(file))
    first, again = _bootstrap(empty, *call), _bootstrap(empty, *call)
    token = file.read_text().strip()
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert (first.stdout, again.stdout) == ("", "")
    assert token not in first.stderr + again.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [key for key, called in _keys(empty).items() if called == name] == [token[5:13]]
    ask_database(empty, f"{REVOKE} WHERE name = $1", name)
    replaced = _bootstrap(empty, *call)
    assert replaced.exit_code == 0
    assert "is revoked; another takes its place" in replaced.stderr
    assert file.read_text().strip() != token
    assert _keys(empty)[file.read_text()[5:13]] == name
    assert [each.name for each in tmp_path.iterdir()] == ["admin"]


def test_a_crash_between_file_and_database_is_made_good(empty: str, tmp_path: Path) -> None:
    """A token that was written but whose key was not made yet becomes a key with the next call."""
    name, file = _name(), tmp_path / "admin"
    assert _bootstrap(_nowhere(), name, "--file", str(file)).exit_code == ExitCode.UNAVAILABLE
    token = file.read_text()
    assert _bootstrap(empty, name, "--file", str(file)).exit_code == 0
    assert file.read_text() == token
    assert _keys(empty)[token[5:13]] == name


@pytest.mark.parametrize("text", ["hunter2", "saga_00000000_" + "A" * 48, "\x00\xff" * 5_000])
def test_a_file_with_something_else_is_left_alone(empty: str, tmp_path: Path, text: str) -> None:
    """A file that holds no token of ours is not overwritten: exit code 4 and a sentence that names it."""
    file = tmp_path / "admin"
    file.write_text(text)
    done = _bootstrap(empty, _name(), "--file", str(file))
    assert (done.exit_code, file.read_text()) == (ExitCode.REFUSED, text), done.stderr
    assert f"{file}: this is no token of ours" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "said"),
    [
        (("Admin!",), {}, 2, "a name is 1 to 63 of"),
        (("admin", "--role", "root"), {}, 2, "root"),
        (("admin", "--file", "/nowhere/at/all"), {}, 2, "/nowhere/at/all"),
        (("admin",), {"url": "mysql://127.0.0.1/x"}, 2, "database.url"),
        (("admin",), {}, ExitCode.UNAVAILABLE, "Postgres does not answer"),
        (("admin",), {"SAGA_API__PROT": "1"}, 2, "SAGA_API__PROT"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[str, ...], settings: dict[str, str], code: int, said: str) -> None:
    """A wrong name, role, file or setting gives 2, a database that is away 3; one sentence, no traceback."""
    given: dict[str, Any] = {"url": _nowhere(), **settings}
    done = _bootstrap(given.pop("url"), *arguments, **given)
    assert done.exit_code == code, done.stderr
    assert done.stdout == ""
    assert said in done.stderr


def test_a_database_without_tables_is_named(stack: LocalStack) -> None:
    """Before `saga migrate` the message says what to run."""
    database = f"bare_{secrets.token_hex(4)}"
    done = _bootstrap(stack.create_database(database), "admin")
    stack.postgres.drop_database(database)
    assert done.exit_code == ExitCode.UNAVAILABLE
    assert "run `saga migrate`" in done.stderr


def _nowhere() -> str:
    return f"postgresql://saga@127.0.0.1:{free_port()}/saga"
