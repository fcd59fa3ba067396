"""The contexts of this person: `context list|show|use|set|remove`. No key is ever printed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from coordinator.exits import ExitCode
from coordinator.remote.completing import complete_contexts
from coordinator.remote.contexts import Config, Context, check_name, choose_server, config_path, read_config
from coordinator.remote.contexts import write_config as write
from coordinator.remote.groups import Listing
from coordinator.remote.output import Column, Item, member
from coordinator.remote.refusals import Refusal, misused
from coordinator.remote.session import Session, command

app = typer.Typer()
contexts = typer.Typer(cls=Listing, help="Servers that you use, by name: which there are, and which one is asked.")
app.add_typer(contexts, name="context")

Name = Annotated[str, typer.Argument(help="a context's name", autocompletion=complete_contexts, show_default=False)]


@contexts.command("list")
@command
def list_contexts(session: Session) -> None:
    """List the contexts; the current one has a star."""
    config = read_config(_path(session), session.warn)
    items = [_item(config, name) for name in sorted(config.contexts)]
    columns = [
        Column("", lambda item: "*" if item["current"] else ""),
        Column("NAME", member("name"), whole=True),
        Column("URL", member("url"), whole=True),
        Column("KEY FROM", member("key_from")),
        Column("CA FILE", member("ca_file"), wide=True),
    ]
    session.output.items(items, columns)


@contexts.command("show")
@command
def show(session: Session) -> None:
    """Show which server would be asked, and who says so."""
    server = choose_server(session.asked, os.environ, session.warn)
    found = {
        "url": server.url,
        "named_by": server.named,
        "has_key": server.key is not None,
        "ca_file": server.ca_file,
        "insecure": server.insecure,
        "config": str(_path(session)),
    }
    if session.output.for_people:
        session.output.console.print(session.output.details(found))
    else:
        session.output.value(found)


@contexts.command("use")
@command
def use(session: Session, name: Name) -> None:
    """Make a context the current one."""
    file = _path(session)
    config = read_config(file, session.warn)
    _known(config, name, file)
    write(file, Config(name, config.contexts))
    session.output.say(f"{name} is the current context: {config.contexts[name].url}")


@contexts.command("set")
@command
def set_context(
    session: Session,
    name: Name,
    server: Annotated[str | None, typer.Option("--server", help="its URL; a new context needs it")] = None,
    key_file: Annotated[str | None, typer.Option("--key-file", help="a file with the key")] = None,
    key_command: Annotated[str | None, typer.Option("--key-command", help="a program that prints the key")] = None,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="read the key from standard input and keep it in the file")
    ] = False,
    ca_file: Annotated[str | None, typer.Option("--ca-file", help="certificates that sign the server's")] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure/--no-insecure", help="take http to other machines", show_default=False)
    ] = None,
) -> None:
    """Add a context, or change what is given of one; the first one becomes the current one."""
    file = _path(session)
    config = read_config(file, session.warn)
    check_name(name)
    before = config.contexts.get(name)
    if server is None and before is None:
        raise misused("a new context needs --server")
    changes: dict[str, Any] = {"url": server, "ca_file": ca_file, "insecure": insecure}
    if sum((key_file is not None, key_command is not None, key_stdin)) > 1:
        raise misused("give one of --key-file, --key-command and --key-stdin")
    if key_file is not None or key_command is not None or key_stdin:
        base = before or Context(str(server))
        before = msgspec.structs.replace(base, key=None, key_file=None, key_command=None)
        key_path = None if key_file is None else str(Path(key_file).expanduser().absolute())
        changes |= {"key_file": key_path, "key_command": key_command, "key": _typed() if key_stdin else None}
    given = {field: value for field, value in changes.items() if value is not None}
    changed = msgspec.structs.replace(before or Context(str(server)), **given)
    if changed.insecure is False:
        choose_server(type(session.asked)(url=changed.url), {})
    write(file, Config(config.current or name, {**config.contexts, name: changed}))
    session.output.say(f"context {name}: {changed.url}")


@contexts.command("remove")
@command
def remove(session: Session, name: Name) -> None:
    """Forget a context."""
    file = _path(session)
    config = read_config(file, session.warn)
    _known(config, name, file)
    left = {each: context for each, context in config.contexts.items() if each != name}
    write(file, Config(None if config.current == name else config.current, left))
    session.output.say(f"context {name} is forgotten")


def _path(session: Session) -> Path:
    return config_path(session.asked.config, os.environ)


def _known(config: Config, name: str, file: Path) -> None:
    if name not in config.contexts:
        raise Refusal(f"{file} has no context {name!r}", ExitCode.NOT_FOUND)


def _item(config: Config, name: str) -> Item:
    context = config.contexts[name]
    sources = {"this file": context.key, context.key_file: context.key_file, "a program": context.key_command}
    return {
        "name": name,
        "current": name == config.current,
        "url": context.url,
        "key_from": next((where for where, given in sources.items() if given is not None), "SAGA_KEY"),
        "ca_file": context.ca_file,
    }


def _typed() -> str:
    """A key from standard input: not from the command line, where every process of the machine could read it."""
    if sys.stdin.isatty():
        return str(typer.prompt("Key", hide_input=True, err=True))
    return sys.stdin.readline().strip()
