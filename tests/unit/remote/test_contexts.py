"""Which server is asked, and with which key: a fixed order, and no key where it does not belong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from coordinator.exits import ExitCode
from coordinator.remote.contexts import Asked, Config, Context, choose_server, config_path, read_config, write_config
from coordinator.remote.refusals import Refusal
from tests.unit.remote.fake import Fake

PROD = Context("https://prod.example", key="prod-key")
TEST = Context("https://test.example")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file of two contexts, of which prod is the current one."""
    path = tmp_path / "saga" / "config.toml"
    write_config(path, Config("prod", {"prod": PROD, "test": TEST}))
    return path


def chosen(file: Path, environment: dict[str, str] | None = None, **asked: str) -> tuple[str, str | None]:
    server = choose_server(Asked(config=str(file), **asked), environment or {})
    return server.url, server.key


def test_the_nearest_word_wins(file: Path) -> None:
    """An option, then the environment, then the current context, then this machine."""
    environment = {"SAGA_URL": "https://env.example", "SAGA_KEY": "env-key"}
    assert chosen(file, environment, url="https://opt.example") == ("https://opt.example", "env-key")
    assert chosen(file, environment, context="prod") == ("https://prod.example", "prod-key")
    assert chosen(file, environment) == ("https://env.example", "env-key")
    assert chosen(file, {"SAGA_KEY": "env-key"}) == ("https://prod.example", "prod-key")
    assert chosen(file, {}, context="test") == ("https://test.example", None)
    assert chosen(file, {"SAGA_KEY": "env-key"}, context="test") == ("https://test.example", "env-key")
    assert chosen(Path("/nowhere"), {}) == ("http://127.0.0.1:8080", None)


def test_a_contexts_key_goes_to_its_own_server_only(file: Path) -> None:
    """Neither --url nor SAGA_URL gets the key of the current context."""
    assert chosen(file, {}, url="https://opt.example") == ("https://opt.example", None)
    assert chosen(file, {"SAGA_URL": "https://env.example"}) == ("https://env.example", None)
    with pytest.raises(Refusal, match="not both"):
        chosen(file, {}, url="https://opt.example", context="prod")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://saga.example", "not encrypted"),
        ("http://127.0.0.1.example", "not encrypted"),
        ("ftp://x.example", "must be like"),
        ("saga.example", "must be like"),
        ("https://", "must be like"),
        ("https://x.example/?a=1", "must be like"),
        ("https://ann:secret@x.example", "holds a password"),
        ("https://x.example:99999", "makes no sense"),
    ],
)
def test_a_url_that_no_key_should_go_to_is_refused(url: str, word: str) -> None:
    """Without encryption only this machine is spoken to; nothing of a password in it is repeated."""
    with pytest.raises(Refusal, match=word) as refused:
        choose_server(Asked(url=url), {})
    assert refused.value.code is ExitCode.USAGE
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080/base"])
def test_this_machine_may_be_spoken_to_in_the_clear(url: str) -> None:
    """Nobody listens in between."""
    assert choose_server(Asked(url=url), {}).url == url


def test_a_context_may_say_that_it_is_insecure(file: Path) -> None:
    """In the file, so that it is a decision and not a slip."""
    write_config(file, Config("lab", {"lab": Context("http://lab.example", insecure=True)}))
    assert chosen(file)[0] == "http://lab.example"


def test_a_key_comes_from_a_file_or_a_program(file: Path, tmp_path: Path) -> None:
    """Its blanks at the end do not count; where it cannot be had, that is said without showing anything."""
    key = tmp_path / "key"
    key.write_text("from-file\n")
    key.chmod(0o600)
    program = f"{sys.executable} -c \"print('from-program')\""
    contexts = {
        "file": Context("https://a.example", key_file=str(key)),
        "program": Context("https://b.example", key_command=program),
        "failing": Context("https://c.example", key_command=f"{sys.executable} -c 'raise SystemExit(\"oh-secret\")'"),
        "missing": Context("https://d.example", key_file="/nowhere/key"),
        "two": Context("https://e.example", key="a", key_file=str(key)),
        "broken": Context("https://f.example", key="a secret\nwith: more"),
    }
    write_config(file, Config("file", contexts))
    assert chosen(file)[1] == "from-file"
    assert chosen(file, context="program")[1] == "from-program"
    for name in ("failing", "missing", "two", "broken"):
        with pytest.raises(Refusal) as refused:
            chosen(file, context=name)
        assert "secret" not in str(refused.value)


def test_a_file_that_others_may_read_is_warned_about(file: Path) -> None:
    """The file is written for its owner alone; who has opened it is told how to close it."""
    warnings: list[str] = []
    assert file.stat().st_mode & 0o077 == 0
    read_config(file, warnings.append)
    assert warnings == []
    file.chmod(0o644)
    read_config(file, warnings.append)
    assert f"chmod 600 {file}" in warnings[0]


@pytest.mark.parametrize("text", ["current = ", "colour = 1", "[contexts.a]\nurl = 7", '[contexts.a]\nkye = "x"'])
def test_a_file_that_makes_no_sense_is_named(file: Path, text: str) -> None:
    """A misspelt member is a mistake, not a silence."""
    file.write_text(text)
    with pytest.raises(Refusal, match=r"config\.toml"):
        read_config(file)


def test_the_file_is_where_one_expects_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, SAGA_CONFIG, XDG_CONFIG_HOME, then below the home directory."""
    monkeypatch.setenv("HOME", "/home/ann")
    assert config_path("/a", {"SAGA_CONFIG": "/b"}) == Path("/a")
    assert config_path(None, {"SAGA_CONFIG": "/b", "XDG_CONFIG_HOME": "/c"}) == Path("/b")
    assert config_path(None, {"XDG_CONFIG_HOME": "/c"}) == Path("/c/saga/config.toml")
    assert config_path(None, {}) == Path("/home/ann/.config/saga/config.toml")


def test_what_is_written_can_be_read(file: Path) -> None:
    """Whatever characters a name or a path has."""
    odd = Context("https://x.example", key_file='/a "b"\\c\n\x7f\u2028', insecure=True)
    config = Config("a.b-c", {"a.b-c": odd, "prod": PROD})
    write_config(file, config)
    assert read_config(file) == config


def test_contexts_are_kept_from_the_command_line(fake: Fake, tmp_path: Path) -> None:
    """set, use, list, show and remove; the first one becomes the current one; no key is ever printed."""
    file = tmp_path / "config.toml"
    env = {"SAGA_CONFIG": str(file), "SAGA_URL": "", "SAGA_KEY": ""}

    def run(*words: str, typed: str | None = None) -> str:
        done = fake.run("context", *words, env=env, typed=typed)
        assert done.exit_code == 0, done.output
        assert "top-secret" not in done.output
        return done.output

    run("set", "prod", "--server", "https://prod.example", "--key-stdin", typed="top-secret\n")
    run("set", "test", "--server", "https://test.example", "--key-file", "/run/key")
    assert read_config(file).current == "prod"
    assert read_config(file).contexts["prod"].key == "top-secret"
    listed = run("list")
    assert "* " in listed.splitlines()[1]
    assert "/run/key" in listed
    assert "https://prod.example" in run("show")
    run("set", "prod", "--ca-file", "/etc/ca.pem")
    assert read_config(file).contexts["prod"].key == "top-secret"
    run("set", "prod", "--key-command", "pass saga")
    assert read_config(file).contexts["prod"] == Context(
        "https://prod.example", key_command="pass saga", ca_file="/etc/ca.pem"
    )
    run("use", "test")
    run("remove", "prod")
    assert read_config(file) == Config("test", {"test": Context("https://test.example", key_file="/run/key")})
    for word in ("use", "remove"):
        assert fake.run("context", word, "prod", env=env).exit_code == ExitCode.NOT_FOUND
    refused = fake.run("context", "set", "lab", "--server", "http://lab.example", env=env)
    assert refused.exit_code == ExitCode.USAGE
    run("set", "lab", "--server", "http://lab.example", "--insecure")


def test_the_context_reaches_the_server(fake: Fake, file: Path) -> None:
    """--context names it, and its key is the one that is sent."""
    fake.says("GET", "/v1/sagas", {"sagas": [], "next_cursor": None})
    assert fake.run("list", "--context", "prod", "--config", str(file)).exit_code == 0
    assert fake.asked[0].url.host == "prod.example"
    assert fake.asked[0].headers["authorization"] == "Bearer prod-key"
    done = fake.run("list", "--context", "nope", "--config", str(file))
    assert done.exit_code == ExitCode.USAGE
    assert "there are: prod, test" in done.stderr
