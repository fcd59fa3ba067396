"""The filter of sagas as options: the same for lists and for bulk work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer

from coordinator.remote.completing import complete_definitions, complete_statuses
from coordinator.remote.refusals import misused
from coordinator.remote.session import Session, chosen
from coordinator.remote.times import moment_of

P = ParamSpec("P")

Statuses = Annotated[
    list[str] | None, typer.Option("--status", help="may be repeated", autocompletion=complete_statuses)
]
Definition = Annotated[
    str | None, typer.Option("--definition", help="a definition's name", autocompletion=complete_definitions)
]
Version = Annotated[int | None, typer.Option("--version", min=1, help="of the definition")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="name=value; may be repeated")]


def _option(kind: Any, word: str, sentence: str, **more: Any) -> Any:
    return Annotated[kind, typer.Option(word, help=sentence, rich_help_panel="Which sagas", **more)]


FILTER: Final[dict[str, Any]] = {
    "status": _option(list[str] | None, "--status", "may be repeated", autocompletion=complete_statuses),
    "definition": _option(str | None, "--definition", "a definition's name", autocompletion=complete_definitions),
    "version": _option(int | None, "--version", "of the definition", min=1),
    "step": _option(str | None, "--step", "not ended, and stands at this step"),
    "participant": _option(str | None, "--participant", "waits for this participant"),
    "business_key": _option(str | None, "--business-key", "taken literally"),
    "label": _option(list[str] | None, "--label", "name=value; may be repeated"),
    "incident": _option(str | None, "--incident", "has an open incident of this reason"),
    "since": _option(str | None, "--since", "begun then or later: a moment, or a span such as 2h"),
    "until": _option(str | None, "--until", "begun before: a moment, or a span"),
}


def filtered(
    function: Callable[Concatenate[Session, dict[str, Any], P], None],
) -> Callable[Concatenate[Session, ...], None]:
    """Give a function the options of the filter, as one value; what is asked wrongly raises Refusal."""

    def run(session: Session, **given: Any) -> None:
        wanted = filter_of({name: given.pop(name) for name in FILTER})
        function(session, wanted, **given)  # type: ignore[call-arg]  # typer gives what the signature says

    own = list(inspect.signature(function, eval_str=True).parameters.values())
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in FILTER.items()
    ]
    rest = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own[2:]]
    run.__signature__ = inspect.Signature([own[0], *options, *rest])  # type: ignore[attr-defined]
    run.__doc__, run.__name__ = function.__doc__, function.__name__
    return run


def filter_of(given: dict[str, Any]) -> dict[str, Any]:
    """The filter that a list and bulk work take, of options; raises Refusal."""
    moments = {name: moment_of(given.get(name)) for name in ("since", "until")}
    labels = [f"{name}:{value}" for name, value in labels_of(given.get("label")).items()]
    version = None if given.get("version") is None else str(given["version"])
    return chosen(**{**given, **moments, "version": version, "label": labels})


def labels_of(given: list[str] | None) -> dict[str, str]:
    """Labels of name=value; raises Refusal."""
    labels = {}
    for each in given or []:
        name, sign, value = each.partition("=")
        if not sign or not name:
            raise misused(f"--label {each}: must be name=value")
        labels[name] = value
    return labels
