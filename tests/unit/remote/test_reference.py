"""docs/cli.md lists what there is: the commands themselves write it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coordinator.command import COMMANDS, load

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"
MARK = "<!-- commands -->\n"
OFFLINE = ("--help",)  # whatever server the environment names
FILTER = "Which sagas"
COMMON = ("shape", "utc", "context", "url", "config", "help")


def test_the_reference_lists_every_command(rewrite: bool) -> None:
    """Each command with its arguments and options, as `--help` tells them."""
    head, mark, listed = DOCUMENT.read_text().partition(MARK)
    wanted = "\n" + "\n".join(_reference())
    if rewrite:
        DOCUMENT.write_text(head + mark + wanted)
    assert mark
    assert rewrite or listed == wanted


def test_the_list_says_of_a_command_what_it_says_of_itself() -> None:
    """The list of `saga --help` is written down apart, so that it loads nothing; it must not tell another story."""
    for name, entry in COMMANDS.items():
        said = _first_line(load(name, OFFLINE))
        words = [word.strip(",.:;").lower() for word in entry.help.split()][:2]
        assert [word.strip(",.:;").lower() for word in said.split()][:2] == words, (name, said)


def _reference() -> Iterator[str]:
    panel = ""
    for name, entry in COMMANDS.items():
        if entry.panel != panel:
            panel = entry.panel
            yield f"### {panel}\n"
        yield from _described(load(name, OFFLINE), f"saga {name}")


def _described(command: Any, path: str) -> Iterator[str]:
    subcommands: dict[str, Any] = getattr(command, "commands", {})
    arguments = "".join(f" {_argument(each)}" for each in _arguments(command))
    more = " COMMAND" if subcommands else ""
    yield f"- **`{path}{arguments}{more}`** {_first_line(command)}"
    if options := list(_options(command, path)):
        yield f"  {'; '.join(options)}"
    yield ""
    for name, each in subcommands.items():
        yield from _described(each, f"{path} {name}")


def _options(command: Any, path: str) -> Iterator[str]:
    """Each option and what it is for; the filter of sagas is told once."""
    shown = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    is_filter = [getattr(each, "rich_help_panel", None) == FILTER for each in shown]
    for each, left_out in zip(shown, is_filter, strict=True):
        if each.name not in COMMON and (not left_out or path == "saga list"):
            words = ", ".join(f"`{word}`" for word in [*each.opts, *each.secondary_opts])
            yield f"{words} {each.help or ''}" + (" (required)" if each.required else "")
    if any(is_filter) and path != "saga list":
        yield "and the filter of `saga list`"


def _arguments(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "argument"]


def _argument(each: Any) -> str:
    name = each.name.upper()
    return name if each.required else f"[{name}]"


def _first_line(command: Any) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())
