"""What every command over the API has: the options that say which server and in which shape, and one way to end.

`command` gives a function its session and these options; what it raises becomes a sentence and an exit code.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import islice
from types import TracebackType
from typing import Annotated, Any, Concatenate, Final, ParamSpec, Self

import typer

from coordinator.exits import ExitCode
from coordinator.remote.client import PAGE_MAX, Answer, Client, Query
from coordinator.remote.completing import complete_contexts
from coordinator.remote.contexts import Asked, choose_server
from coordinator.remote.output import Column, Item, Output, Shape
from coordinator.remote.outside import Outside, outside_of
from coordinator.remote.refusals import Refusal, misused

P = ParamSpec("P")

LIMIT_DEFAULT: Final = 50
PAGES_MAX: Final = 20  # that are looked at for one list, unless all are wanted
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="how many")]
Everything = Annotated[bool, typer.Option("--all", help="all pages")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="go on where a page ended: its next_cursor")]
Reason = Annotated[str | None, typer.Option("--reason", help="why: it is recorded; asked for where it is missing")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


class Session(AbstractContextManager["Session"]):
    """One command: its server, its output, and the person before it."""

    def __init__(self, asked: Asked, output: Output, outside: Outside) -> None:
        self._asked = asked
        self._outside = outside
        self.output = output

    @cached_property
    def client(self) -> Client:
        """The client, made when it is needed first."""
        return Client(choose_server(self._asked, os.environ, self.warn), self._outside.transport)

    @property
    def asked(self) -> Asked:
        """What the options say of the server."""
        return self._asked

    @property
    def interactive(self) -> bool:
        """Whether somebody can answer a question."""
        if self._outside.interactive is not None:
            return self._outside.interactive
        return sys.stdin.isatty() and self.output.aside.is_terminal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "client" in self.__dict__:
            self.client.__exit__(kind, error, trace)

    def warn(self, sentence: str) -> None:
        """Tell the person what they should mend."""
        self.output.say(f"saga: warning: {sentence}")

    def reason(self, given: str | None) -> str:
        """Why something is done; asks where it is missing, raises Refusal where nobody can answer."""
        if given is None and self.interactive:
            given = typer.prompt("Why? It is recorded", err=True)
        if given is None or not given.strip():
            raise misused("give a --reason: it is recorded")
        return given.strip()

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Whether the person agrees; raises Refusal where nobody can answer."""
        if yes:
            return True
        if not self.interactive:
            raise misused("nobody is here to confirm: look at the preview, then say --yes")
        return typer.confirm(question, err=True)

    def listing(
        self,
        target: str,
        name: str,
        columns: list[Column],
        query: Query,
        *,
        limit: int,
        everything: bool,
        cursor: str | None = None,
    ) -> None:
        """Show a list, page by page where lines can be written as they come."""
        if self.output.shape == "jsonl":
            for item in self._walk(target, name, query, None if everything else limit, cursor):
                self.output.items([item], columns)
            return
        if not everything and limit <= PAGE_MAX:
            if self.output.for_people:
                self._found(target, name, columns, {**query, "limit": limit}, limit, cursor)
            else:
                self.output.one(self.client.get(target, {**query, "limit": limit, "cursor": cursor}))
            return
        items = list(self._walk(target, name, query, None if everything else limit, cursor))
        if self.output.for_people:
            self.output.items(items, columns)
        else:
            self.output.value({name: items, "next_cursor": None})

    def _found(
        self, target: str, name: str, columns: list[Column], query: Query, limit: int, cursor: str | None
    ) -> None:
        """Show so many items, of some pages where they hold few: a filter that fits few can have empty ones."""
        items: list[Item] = []
        following: str | None = None
        for answer in islice(self.client.pages(target, query, cursor), PAGES_MAX):
            following = answer.value.get("next_cursor") if isinstance(answer.value, dict) else None
            items += items_of(answer, name)
            if len(items) >= limit:
                break
        self.output.items(items[:limit], columns)
        if len(items) >= limit and following:
            self.output.say("there are more: --all, or a larger --limit")
        elif following:
            self.output.say(f"so far back nothing else fits; further back look with --all, or --cursor {following}")

    def _walk(self, target: str, name: str, query: Query, count: int | None, cursor: str | None) -> Iterator[Item]:
        left = count
        step = PAGE_MAX if left is None else min(left, PAGE_MAX)
        for answer in self.client.pages(target, {**query, "limit": step}, cursor):
            found = items_of(answer, name)
            yield from found if left is None else found[:left]
            if left is not None:
                left -= len(found)
                if left <= 0:
                    return


def items_of(answer: Answer, name: str) -> list[Item]:
    """The items of a page; raises Refusal when it is none."""
    found = answer.value.get(name) if isinstance(answer.value, dict) else None
    if not isinstance(found, list):
        raise Refusal(f"the answer has no {name}: is it a coordinator of this version?", ExitCode.FAILED)
    return found


def command(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Make a command of a function that takes a session: adds the common options, and ends it properly."""

    def run(ctx: typer.Context, **given: Any) -> None:
        asked = Asked(given.pop("url"), given.pop("context"), given.pop("config"))
        output = Output(given.pop("shape"), utc=given.pop("utc"))
        try:
            with Session(asked, output, outside_of(ctx)) as session:
                function(session, **given)  # type: ignore[call-arg]  # typer gives what the signature says
        except Refusal as refusal:
            output.say(f"saga: {refusal}")
            raise typer.Exit(refusal.code) from refusal
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # the code 1 would be an answer
            output.say(f"saga: the answer is not what was expected: {error!r}; is the server of this version?")
            raise typer.Exit(ExitCode.FAILED) from error

    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in [*own, *_COMMON])]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__doc__, run.__name__ = function.__doc__, function.__name__
    return run


def _option(name: str, kind: Any, default: Any, *words: str, **more: Any) -> inspect.Parameter:
    annotated = Annotated[kind, typer.Option(*words, **more)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotated)


_PANEL = "Which server, in which shape"
_COMMON: Final = [
    _option("shape", Shape, "table", "--output", "-o", help="how it is shown", rich_help_panel=_PANEL),
    _option("utc", bool, False, "--utc", help="moments in UTC, not in local time", rich_help_panel=_PANEL),
    _option(
        "context",
        str | None,
        None,
        "--context",
        help="one of the contexts of the configuration",
        autocompletion=complete_contexts,
        rich_help_panel=_PANEL,
    ),
    _option("url", str | None, None, "--url", help="a server, with the key in SAGA_KEY", rich_help_panel=_PANEL),
    _option("config", str | None, None, "--config", help="the file of contexts", rich_help_panel=_PANEL),
]


def chosen(**given: Any) -> dict[str, Any]:
    """A body or query of what was given."""
    return {name: value for name, value in given.items() if value not in (None, [], ())}
