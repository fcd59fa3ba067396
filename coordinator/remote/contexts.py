"""Which server is asked, and as whom: a file of contexts, the environment, or options, in a fixed order.

    --url > --context > SAGA_URL > the current context > http://127.0.0.1:8080

A key goes only where it belongs: a context's key to the context's server; SAGA_KEY to a server that was named without
a context, or to one whose context names no key.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shlex
import stat
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from coordinator.remote.refusals import misused

DEFAULT_URL: Final = "http://127.0.0.1:8080"
KEY_COMMAND_S: Final = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]{1,8192}", re.ASCII)
Warn = Callable[[str], None]


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A server, and where its key comes from: written here, in a file, or printed by a command."""

    url: str
    key: str | None = None
    key_file: str | None = None
    key_command: str | None = None
    ca_file: str | None = None
    insecure: bool = False


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: contexts by name, and which of them is the current one."""

    current: str | None = None
    contexts: dict[str, Context] = {}


class Server(msgspec.Struct, frozen=True):
    """What a client needs; `named` says who named the server."""

    url: str
    named: str
    key: str | None = None
    ca_file: str | None = None
    insecure: bool = False


class Asked(msgspec.Struct, frozen=True):
    """What the options of a command say."""

    url: str | None = None
    context: str | None = None
    config: str | None = None


def config_path(given: str | None, environment: Mapping[str, str]) -> Path:
    """The file of contexts: --config, SAGA_CONFIG, or the usual place."""
    if chosen := given or environment.get("SAGA_CONFIG"):
        return Path(chosen).expanduser()
    home = environment.get("XDG_CONFIG_HOME")
    folder = Path(home) if home and Path(home).is_absolute() else Path("~/.config").expanduser()
    return folder / "saga" / "config.toml"


def read_config(path: Path, warn: Warn = lambda _: None) -> Config:
    """Read the file; one that is not there holds nothing. Raises Refusal when it makes no sense."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise misused(f"{path} cannot be read: {error}") from error
    try:
        config = msgspec.convert(tomllib.loads(text), Config)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise misused(f"{path}: {error}") from error
    if any(context.key is not None for context in config.contexts.values()) and _is_open(path):
        warn(f"{path} holds a key and others may read it: chmod 600 {path}")
    return config


def write_config(path: Path, config: Config) -> None:
    """Write the file anew, all or nothing, for its owner alone; raises Refusal."""
    lines = [] if config.current is None else [f"current = {_quoted(config.current)}"]
    for name, context in sorted(config.contexts.items()):
        lines += ["", f"[contexts.{_quoted(name)}]"]
        fields: dict[str, str | bool] = msgspec.to_builtins(context)
        lines += [
            f"{field} = {_quoted(value) if isinstance(value, str) else str(value).lower()}"
            for field, value in fields.items()
        ]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=".config-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines).lstrip("\n") + "\n")
        Path(beside).replace(path)
    except OSError as error:
        raise misused(f"{path} cannot be written: {error}") from error


def check_name(name: str) -> str:
    """A context's name; raises Refusal."""
    if not _NAME.fullmatch(name):
        raise misused(f"{name!r} is no name for a context: letters, digits, dots, dashes and underscores")
    return name


def names_server(asked: Asked, environment: Mapping[str, str]) -> bool:
    """Whether anybody names a server: options, the environment, or the file of contexts."""
    if asked.url or asked.context or environment.get("SAGA_URL"):
        return True
    return read_config(config_path(asked.config, environment)).current is not None


def choose_server(asked: Asked, environment: Mapping[str, str], warn: Warn = lambda _: None) -> Server:
    """Which server is meant, with its key; raises Refusal."""
    if asked.url and asked.context:
        raise misused("give --url or --context, not both: a context's key goes to the context's server only")
    if asked.url:
        return _checked(Server(asked.url, "--url", _from_environment(environment)))
    if not asked.context and (url := environment.get("SAGA_URL")):
        return _checked(Server(url, "SAGA_URL", _from_environment(environment)))
    path = config_path(asked.config, environment)
    config = read_config(path, warn)
    name = asked.context or config.current
    if name is None:
        return Server(DEFAULT_URL, "default, as nothing names another", _from_environment(environment))
    if name not in config.contexts:
        known = ", ".join(sorted(config.contexts)) or "none"
        raise misused(f"{path} has no context {name!r}; there are: {known}")
    context = config.contexts[name]
    key = key_of(context, warn)
    if key is None:
        key = _from_environment(environment)
    return _checked(Server(context.url, f"context {name}", key, context.ca_file, context.insecure))


def key_of(context: Context, warn: Warn = lambda _: None) -> str | None:
    """A context's key, wherever it comes from; raises Refusal that does not show it."""
    given = [value for value in (context.key, context.key_file, context.key_command) if value is not None]
    if len(given) > 1:
        raise misused("a context has one of key, key_file and key_command")
    if context.key_file is not None:
        file = Path(context.key_file).expanduser()
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise misused(f"the key cannot be read from {file}: {type(error).__name__}") from error
        if _is_open(file):
            warn(f"{file} holds a key and others may read it: chmod 600 {file}")
        return _key(text.strip(), str(file))
    if context.key_command is not None:
        return _key(_printed(context.key_command), "key_command")
    return None if context.key is None else _key(context.key, "the context")


def _from_environment(environment: Mapping[str, str]) -> str | None:
    key = environment.get("SAGA_KEY")
    return _key(key.strip(), "SAGA_KEY") if key else None


def _key(text: str, where: str) -> str:
    if not _KEY.fullmatch(text):
        raise misused(f"what {where} holds is no key: one word of printable ASCII characters")
    return text


def _printed(command: str) -> str:
    """What a program prints; its errors go to the person, its output to nobody else."""
    try:
        done = subprocess.run(  # noqa: S603 - the person's own configuration, and no shell
            shlex.split(command), stdout=subprocess.PIPE, timeout=KEY_COMMAND_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise misused(f"key_command gave no key: {type(error).__name__}") from None
    return done.stdout.decode("utf-8", "replace").strip()


def _checked(server: Server) -> Server:
    """A URL that a key may be sent to; raises Refusal."""
    try:
        parts = urlsplit(server.url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise misused(f"the URL of {server.named} makes no sense: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise misused(f"the URL of {server.named} holds a password: give a key instead")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise misused(f"the URL of {server.named} must be like https://saga.example.org")
    if parts.scheme == "http" and not server.insecure and not _is_loopback(host):
        raise misused(
            f"{server.url} is not encrypted and not on this machine: use https, or `insecure = true` in a context"
        )
    return server


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_open(path: Path) -> bool:
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError:
        return False


def _quoted(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")
