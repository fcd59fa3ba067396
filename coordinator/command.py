"""The command `saga`: finds the module of a command when it is asked for, so that none pays for the others.

Look, Act, Operate  over the REST API: coordinator/remote, no servers' drivers, starts in a blink
Run                 with the servers themselves and the settings: coordinator/cli.py
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import typer
import typer.main
from typer.completion import completion_init  # type: ignore[attr-defined]  # there is no other way to it
from typer.core import TyperCommand, TyperGroup

from coordinator.exits import MEANINGS
from coordinator.remote.contexts import Asked, names_server
from coordinator.remote.refusals import Refusal

LOOK, ACT, OPERATE, RUN = "Look", "Act", "Operate", "Run"
REMOTE, LOCAL = "coordinator.remote.", "coordinator.cli"


class Entry(NamedTuple):
    """A command: where it is listed, the beginning of what it says of itself, and the module whose app has it."""

    panel: str
    help: str
    module: str


COMMANDS: Final[dict[str, Entry]] = {
    "list": Entry(LOOK, "List sagas, newest first.", f"{REMOTE}sagas"),
    "show": Entry(LOOK, "Show a saga: how it stands, its steps, its incidents.", f"{REMOTE}sagas"),
    "watch": Entry(LOOK, "Follow a saga live to its end; exit code 0 if it completed, 1 if not.", f"{REMOTE}following"),
    "tree": Entry(LOOK, "Draw a saga: steps forward, compensations back, what is open.", f"{REMOTE}sagas"),
    "top": Entry(LOOK, "Show live how sagas stand, and what waits for a person.", f"{REMOTE}overview"),
    "tail": Entry(LOOK, "Follow what happens to all sagas.", f"{REMOTE}following"),
    "definitions": Entry(LOOK, "List the definitions and what runs on them; show one.", LOCAL),
    "participants": Entry(LOOK, "Show the participants.", f"{REMOTE}catalogue"),
    "audit": Entry(LOOK, "Show who did what and why, newest first.", f"{REMOTE}catalogue"),
    "whoami": Entry(LOOK, "Show as whom the server knows you.", f"{REMOTE}catalogue"),
    "start": Entry(ACT, "Start a saga.", f"{REMOTE}following"),
    "retry": Entry(ACT, "Let a suspended saga go on.", f"{REMOTE}acting"),
    "skip": Entry(ACT, "Leave a step out.", f"{REMOTE}acting"),
    "resolve": Entry(ACT, "State what has really happened to a step.", f"{REMOTE}acting"),
    "compensate": Entry(ACT, "Cancel a saga: what was done is undone.", f"{REMOTE}acting"),
    "suspend": Entry(ACT, "Halt a saga.", f"{REMOTE}acting"),
    "resume": Entry(ACT, "Let a halted saga go on.", f"{REMOTE}acting"),
    "abandon": Entry(ACT, "Give a saga up: what was done stays done.", f"{REMOTE}acting"),
    "replay": Entry(ACT, "Publish the last good event of an observed saga again.", f"{REMOTE}acting"),
    "bulk": Entry(ACT, "Do a verb to all sagas that a filter finds.", f"{REMOTE}bulk"),
    "incidents": Entry(OPERATE, "What needs a person: look, take it, note, resolve.", f"{REMOTE}incidents"),
    "dlq": Entry(OPERATE, "Dead letters: look, send again, discard.", f"{REMOTE}letters"),
    "keys": Entry(OPERATE, "API keys: list, create, revoke; bootstrap the first one.", f"{REMOTE}keys"),
    "context": Entry(OPERATE, "Servers that you use, by name.", f"{REMOTE}context_commands"),
    "doctor": Entry(OPERATE, "Check everything, and say what to do about what is wrong.", "coordinator.cli_doctor"),
    "completion": Entry(OPERATE, "Print what makes a shell complete words.", f"{REMOTE}shells"),
    "serve": Entry(RUN, "Run the coordinator until SIGTERM.", LOCAL),
    "migrate": Entry(RUN, "Bring the database to the newest migration.", LOCAL),
    "topics": Entry(RUN, "Create the topics that are missing, and check the others.", LOCAL),
    "check": Entry(RUN, "Search everything that can happen to sagas.", LOCAL),
    "test": Entry(RUN, "Play scenarios against the definitions.", LOCAL),
}
"""All commands, in the order of `saga --help`."""

_EPILOG = "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."
_OFFLINE: Final = ("show", "asyncapi", "--help")


class Commands(TyperGroup):
    """Lists commands without loading them, and loads the one that is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, as they are listed."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """What stands for a command in a list."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        return TyperCommand(cmd_name, help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, TyperCommand | None, list[str]]:
        """The command itself."""
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # names near a misspelt one come from here
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load(name, rest), rest


def load(name: str, words: Sequence[str] = ()) -> TyperCommand:
    """A command with everything that it needs; `words` are what follows it."""
    module = COMMANDS[name].module
    if name == "definitions" and _asks_a_server(words):
        module = f"{REMOTE}catalogue"
    if _needs_no_key(name, words):
        module = LOCAL
    found = typer.main.get_group(importlib.import_module(module).app).commands[name]
    found.rich_help_panel = COMMANDS[name].panel  # type: ignore[attr-defined]  # commands and groups have it
    return found  # type: ignore[return-value]  # a command or a group


def _needs_no_key(name: str, words: Sequence[str]) -> bool:
    """Whether it is `saga keys bootstrap`, which goes to the database itself."""
    return name == "keys" and list(words[:1]) == ["bootstrap"]


def _asks_a_server(words: Sequence[str]) -> bool:
    """Whether `saga definitions` lists what a server knows: one is named, or an option of such a list is given."""
    if words:
        return words[0] not in _OFFLINE
    try:
        return names_server(Asked(), os.environ)
    except Refusal:
        return True  # and there it is said what is wrong with the file


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they hold keys
    help="A saga coordinator over Kafka and Postgres.",
    epilog=_EPILOG,
)


@app.callback()
def _root() -> None:
    """A saga coordinator over Kafka and Postgres."""


def install() -> None:
    """Make the program answer a shell that asks what may stand behind a word."""
    completion_init()


def main() -> None:
    """Entry point of the console script."""
    install()
    if _needs_no_key("".join(sys.argv[1:2]), sys.argv[2:]):
        # Lines of the log go to standard error: the output is the token alone.
        importlib.import_module("coordinator.observability.logs").configure("warning")
    app(prog_name="saga")
