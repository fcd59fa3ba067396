"""Who may do what at the terminal: a key of each role, keys that ended, and the places where a key may come from."""

from __future__ import annotations

import json
import secrets
import stat
from pathlib import Path

import pytest

from coordinator.exits import ExitCode
from tests.integration.api.guarded import saga
from tests.integration.api.server import order
from tests.integration.cli.terminal import Terminal

VERB = ("--reason", "r", "--yes")


@pytest.mark.parametrize(
    ("who", "words", "code"),
    [
        ("viewer", ("retry", "{saga}", *VERB), ExitCode.FORBIDDEN),
        ("viewer", ("start", "OrderFulfillment", "-i", "{{}}"), ExitCode.FORBIDDEN),
        ("viewer", ("bulk", "retry", "--status", "suspended", *VERB), ExitCode.FORBIDDEN),
        ("viewer", ("audit",), ExitCode.FORBIDDEN),
        ("viewer", ("incidents",), 0),
        ("viewer", ("tree", "{saga}"), 0),
        ("operator", ("abandon", "{saga}", *VERB), ExitCode.FORBIDDEN),
        ("operator", ("keys",), ExitCode.FORBIDDEN),
        ("operator", ("retry", "{saga}", "--preview"), 0),
        ("service", ("suspend", "{saga}", *VERB), ExitCode.FORBIDDEN),
        ("service", ("dlq",), ExitCode.FORBIDDEN),
        ("service", ("tree", "{saga}"), 0),
        ("no-token-at-all", ("list",), ExitCode.FORBIDDEN),
    ],
)
def test_each_role_may_do_what_is_its(terminal: Terminal, who: str, words: tuple[str, ...], code: int) -> None:
    """What is not allowed ends with 5 and a sentence, nothing on standard output, and changes nothing."""
    saga_id = terminal.suspended(f"cli-{who}")
    before = terminal.json("show", saga_id)["version"]
    done = terminal.of(who).run(*(word.format(saga=saga_id) for word in words))
    assert done.exit_code == code, done.output
    if code:
        assert (done.stdout, done.stderr[:6]) == ("", "saga: ")
        assert terminal.json("show", saga_id)["version"] == before


def test_an_operator_lets_a_saga_go_on_and_is_recorded(terminal: Terminal) -> None:
    """Under the name of their key."""
    saga_id = terminal.suspended("cli-recorded")
    done = terminal.of("operator").run("retry", saga_id, *VERB)
    assert done.exit_code == 0, done.output
    assert [act["actor"] for act in terminal.json("audit", "--saga", saga_id)["acts"]] == ["key:a-operator"]


def test_a_viewer_sees_no_sensitive_field(terminal: Terminal) -> None:
    """What the definition declares sensitive is masked in every shape; an operator sees it."""
    canary = f"canary-{secrets.token_hex(4)}"
    given = order(f"cli-masked-{canary}", card={"token": canary}, email=f"{canary}@example.org")["input"]
    started = terminal.json("start", "OrderFulfillment", "-i", json.dumps({**given, "order_id": secrets.token_hex(6)}))
    for shape in ("table", "wide", "json", "yaml"):
        words = ("show", started["id"], "--log", "-o", shape)
        assert canary not in terminal.of("viewer").run(*words).stdout
    assert "teapot" in terminal.of("viewer").run("show", started["id"], "-o", "wide").stdout
    assert canary in terminal.of("operator").run("show", started["id"], "-o", "json").stdout


def test_a_key_that_ended_lets_nobody_in(terminal: Terminal) -> None:
    """Made, used, revoked and refused: 5, and where another one would come from; the key itself is not said."""
    token = terminal.run("keys", "create", "leaver", "--role", "operator").stdout.strip()
    leaver = terminal.of(token)
    assert leaver.json("whoami")["actor"] == "key:leaver"
    listed = terminal.json("keys", "list", "--all")["keys"]
    key = next(each["id"] for each in listed if each["name"] == "leaver")
    assert terminal.run("keys", "revoke", key, "--reason", "left", "--yes").exit_code == 0
    done = leaver.run("list")
    assert done.exit_code == ExitCode.FORBIDDEN
    assert "SAGA_KEY" in done.stderr
    assert token not in done.output


@pytest.mark.parametrize("way", ["--key-file", "--key-command", "--key-stdin"])
def test_a_context_has_its_key(terminal: Terminal, tmp_path: Path, way: str) -> None:
    """From a file, a program or the configuration; SAGA_KEY does not come in between, and nothing prints the key."""
    token = terminal.guarded.tokens["viewer"]
    key = tmp_path / "key"
    key.write_text(f"{token}\n")
    key.chmod(0o600)
    env = {"SAGA_CONFIG": str(tmp_path / "config.toml"), "SAGA_URL": "", "SAGA_KEY": terminal.guarded.tokens["admin"]}
    more = {"--key-file": [str(key)], "--key-command": [f"cat {key}"], "--key-stdin": []}[way]
    typed = f"{token}\n" if way == "--key-stdin" else None
    made = terminal.run("context", "set", "here", "--server", terminal.api.url, way, *more, typed=typed, env=env)
    assert made.exit_code == 0, made.output
    assert stat.S_IMODE((tmp_path / "config.toml").stat().st_mode) == 0o600
    who = terminal.run("whoami", "-o", "json", env=env)
    assert json.loads(who.stdout)["actor"] == "key:a-viewer"
    for words in (("context", "list", "-o", "wide"), ("context", "show")):
        assert token not in terminal.run(*words, env=env).output
    assert terminal.run("whoami", "--url", terminal.api.url, env=env).exit_code == 0  # SAGA_KEY, for a server by --url


def test_the_first_key_is_made_beside_the_database(terminal: Terminal, tmp_path: Path) -> None:
    """`saga keys bootstrap` asks no server; `saga keys --help`, which asks nobody either, names it."""
    helped = terminal.run("keys", "--help", env={"SAGA_URL": "http://127.0.0.1:9"})
    assert "bootstrap" in helped.stdout
    file = tmp_path / "key"
    env = {**terminal.api.environment, "SAGA_URL": "http://127.0.0.1:9"}
    done = saga(env, "keys", "bootstrap", "beside", "--role", "viewer", "--file", str(file))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    first = terminal.of(file.read_text().strip())
    _until_known(first)
    assert first.json("whoami")["actor"] == "key:beside"
    printed = saga(env, "keys", "bootstrap", "beside").stdout.strip()
    knows = terminal.of(printed)
    _until_known(knows)
    assert knows.json("whoami")["role"] == "admin"
    refused = saga(env, "keys", "bootstrap", "beside")
    assert refused.returncode == ExitCode.REFUSED, refused.stderr
    assert refused.stderr.startswith("saga: ")


def _until_known(terminal: Terminal) -> None:
    """Wait until the process has read its keys again, which it does every second."""
    for _ in range(20):
        if terminal.run("whoami").exit_code == 0:
            return
    raise AssertionError("the key is not known")
