"""`saga keys bootstrap` where something is wrong, or is done again; and how a coordinator closes when a key is made."""

from __future__ import annotations

import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.processes import free_port
from deploy.local.stack import LocalStack
from tests.integration.api.guarded import saga
from tests.integration.api.server import Api, start_api


@pytest.fixture
def open_api(stack: LocalStack) -> Iterator[Api]:
    """Give a coordinator on loopback that nobody has made a key for."""
    mark = secrets.token_hex(4)
    api = start_api(stack, f"open-{mark}", f"open_{mark}", f"open{mark}.")
    yield api
    api.child.stop()
    stack.postgres.drop_database(f"open_{mark}")


def _status(api: Api, file: Path | None = None) -> int:
    headers = {} if file is None else {"Authorization": f"Bearer {file.read_text().strip()}"}
    return api.send("GET", "/v1/whoami", None, headers).status


def _until(api: Api, status: int, file: Path | None = None) -> None:
    deadline = time.monotonic() + 5
    while _status(api, file) != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_first_key_closes_the_door(open_api: Api, tmp_path: Path) -> None:
    """On loopback all are served until a key is made; then nobody is without one, even when it is revoked."""
    file = tmp_path / "admin"
    assert open_api.get("/v1/whoami").json["authentication"] == "loopback"
    assert open_api.get("/readyz").json["authentication"] == "loopback"
    assert saga(open_api.environment, "keys", "bootstrap", "admin", "--file", str(file)).returncode == 0
    _until(open_api, 401)
    _until(open_api, 200, file)
    open_api.fetch("UPDATE api_key SET revoked_at = now(), revoked_by = 'ann', revoked_because = 'lost', place = NULL")
    _until(open_api, 401, file)
    assert _status(open_api) == 401


def test_a_file_keeps_the_token_of_a_valid_key(open_api: Api, tmp_path: Path) -> None:
    """With --file the same key is kept over calls, for its owner only; a revoked one is replaced, saying so."""
    file = tmp_path / "admin"
    call = ("keys", "bootstrap", "admin", "--file", str(file))
    first, again = saga(open_api.environment, *call), saga(open_api.environment, *call)
    token = file.read_text()
    assert (first.returncode, again.returncode) == (0, 0)
    assert (first.stdout, again.stdout) == ("", "")
    assert token.strip() not in first.stderr + again.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(open_api.fetch("SELECT id FROM api_key")) == 1
    open_api.fetch("UPDATE api_key SET revoked_at = now(), revoked_by = 'ann', revoked_because = 'lost', place = NULL")
    replaced = saga(open_api.environment, *call)
    assert replaced.returncode == 0
    assert "is revoked; another takes its place" in replaced.stderr
    assert file.read_text() != token
    _until(open_api, 200, file)
    assert [each.name for each in tmp_path.iterdir()] == ["admin"]


def test_a_crash_between_file_and_database_is_made_good(open_api: Api, tmp_path: Path) -> None:
    """A token that was written but whose key was not made yet becomes a key with the next call."""
    file = tmp_path / "admin"
    call = ("keys", "bootstrap", "admin", "--file", str(file))
    assert saga({**open_api.environment, "SAGA_DATABASE__URL": _nowhere()}, *call).returncode == 3
    token = file.read_text()
    assert saga(open_api.environment, *call).returncode == 0
    assert file.read_text() == token
    _until(open_api, 200, file)


@pytest.mark.parametrize("text", ["", "hunter2", "saga_00000000_" + "A" * 48, "\x00\xff" * 5_000])
def test_a_file_with_something_else_is_left_alone(open_api: Api, tmp_path: Path, text: str) -> None:
    """A file that holds no token of ours is not overwritten, but for an empty one: exit code 3 and a sentence."""
    file = tmp_path / "admin"
    file.write_text(text)
    done = saga(open_api.environment, "keys", "bootstrap", "admin", "--file", str(file))
    assert (done.returncode, file.read_text() == text) == ((0, False) if not text else (3, True)), done.stderr
    assert text == "" or "no token of ours" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "said"),
    [
        (("Admin!",), {}, 2, "a name is 1 to 63 of"),
        (("admin", "--role", "root"), {}, 2, "root"),
        (("admin", "--file", "/nowhere/at/all"), {}, 2, "/nowhere/at/all"),
        (("admin",), {"SAGA_DATABASE__URL": "mysql://127.0.0.1/x"}, 2, "database.url"),
        (("admin",), {"SAGA_DATABASE__URL": "nobody listens"}, 3, "Postgres does not answer"),
        (("admin",), {"SAGA_API__PROT": "1"}, 2, "SAGA_API__PROT"),
    ],
)
def test_what_is_wrong_is_named(
    stack: LocalStack, arguments: tuple[str, ...], settings: dict[str, str], code: int, said: str
) -> None:
    """A wrong name, role, file or setting gives 2, a database that is away 3; one sentence, no traceback."""
    given = {name: _nowhere() if value == "nobody listens" else value for name, value in settings.items()}
    done = saga({**stack.environment("postgresql://127.0.0.1/unused"), **given}, "keys", "bootstrap", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_without_tables_is_named(stack: LocalStack) -> None:
    """Before `saga migrate` the message says what to run."""
    database = f"bare_{secrets.token_hex(4)}"
    url = stack.create_database(database)
    done = saga(stack.environment(url), "keys", "bootstrap", "admin")
    stack.postgres.drop_database(database)
    assert done.returncode == 3
    assert "run `saga migrate`" in done.stderr


def _nowhere() -> str:
    return f"postgresql://saga@127.0.0.1:{free_port()}/saga"
