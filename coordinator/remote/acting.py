"""Verbs on one saga: look at what would happen, confirm it, and send it under the version that was looked at.

A saga that moved on in between is shown again, and asked about again.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import typer
from rich.text import Text

from coordinator.exits import ExitCode
from coordinator.remote.client import path
from coordinator.remote.inputs import json_of
from coordinator.remote.output import Item, Output, plain, styled
from coordinator.remote.refusals import Refusal, misused
from coordinator.remote.sagas import SagaId
from coordinator.remote.session import Reason, Session, Yes, chosen, command

app = typer.Typer()

Step = Annotated[str | None, typer.Option("--step", help="the step, where there is a choice")]
TheStep = Annotated[str, typer.Option("--step", help="the step", show_default=False)]
PreviewOnly = Annotated[bool, typer.Option("--preview", help="show what would happen, and do nothing")]
Expected = Annotated[
    int | None,
    typer.Option("--expected-version", min=1, help="with --yes: act if the saga is at this version, without a preview"),
]
Resolution = Literal["completed", "failed", "undone"]

_STALE: Final = (409, 412)
_COMMAND: Final = ("command", "participant", "step", "attempt")


@app.command("retry")
@command
def retry(
    session: Session,
    saga_id: SagaId,
    step: Step = None,
    payload: Annotated[
        str | None, typer.Option("--payload", help="another one for the failed --step: JSON, a file, or -")
    ] = None,
    reason: Reason = None,
    yes: Yes = False,
    preview: PreviewOnly = False,
    expected: Expected = None,
) -> None:
    """Let a suspended saga go on: its commands are sent again."""
    if payload is not None and step is None:
        raise misused("--payload is another one for a failed step: say which, with --step")
    body = {**chosen(step=step), **({} if payload is None else {"payload": json_of(payload, "--payload")})}
    _act(session, "retry", saga_id, body, reason, yes=yes, preview=preview, expected=expected)


@app.command("skip")
@command
def skip(
    session: Session,
    saga_id: SagaId,
    step: TheStep,
    reason: Reason = None,
    yes: Yes = False,
    preview: PreviewOnly = False,
    expected: Expected = None,
) -> None:
    """Leave a step out."""
    _act(session, "skip", saga_id, {"step": step}, reason, yes=yes, preview=preview, expected=expected)


@app.command("resolve")
@command
def resolve(
    session: Session,
    saga_id: SagaId,
    step: TheStep,
    resolution: Annotated[Resolution, typer.Option("--resolution", help="what happened", show_default=False)],
    result: Annotated[str | None, typer.Option("--result", help="of a completed step: JSON, a file, or -")] = None,
    reason: Reason = None,
    yes: Yes = False,
    preview: PreviewOnly = False,
    expected: Expected = None,
) -> None:
    """State what has really happened to a step."""
    stated = {} if result is None else {"result": json_of(result, "--result")}
    body = {"step": step, "resolution": resolution, **stated}
    _act(session, "resolve", saga_id, body, reason, yes=yes, preview=preview, expected=expected)


_PLAIN: Final = {
    "compensate": "Cancel a saga: what was done is undone.",
    "suspend": "Halt a saga: nothing is sent until it is resumed.",
    "resume": "Let a halted saga go on from where it stood.",
    "abandon": "Give a saga up: what was done stays done.",
    "replay": "Publish the last good event of a suspended choreographed saga again.",
}
"""The verbs that need no more than a reason, and what they do."""


def _add(verb: str, sentence: str) -> None:
    def plain_verb(
        session: Session,
        saga_id: SagaId,
        reason: Reason = None,
        yes: Yes = False,
        preview: PreviewOnly = False,
        expected: Expected = None,
    ) -> None:
        _act(session, verb, saga_id, {}, reason, yes=yes, preview=preview, expected=expected)

    plain_verb.__name__, plain_verb.__doc__ = verb, sentence
    app.command(verb)(command(plain_verb))


for _verb, _sentence in _PLAIN.items():
    _add(_verb, _sentence)


def _act(
    session: Session,
    verb: str,
    saga_id: str,
    body: dict[str, Any],
    reason: str | None,
    *,
    yes: bool,
    preview: bool,
    expected: int | None,
) -> None:
    target = path("sagas", saga_id, verb)
    if preview:
        asked = {**body, "reason": reason or "a preview"}
        answer = session.client.post(target, asked, query={"preview": "true"})
        session.output.one(answer, lambda found: previewed(session.output, found))
        return
    body = {**body, "reason": session.reason(reason)}
    if expected is not None:
        if not yes:
            raise misused("--expected-version goes without a preview: it needs --yes")
        _done(session, target, body, expected)
        return
    while True:
        version = _looked_at(session, target, body, verb, yes=yes)
        if version is None:
            session.output.say("nothing was done")
            raise typer.Exit(ExitCode.NO)
        try:
            _done(session, target, body, version)
        except Refusal as refusal:
            if refusal.status not in _STALE or yes or not session.interactive:
                raise
            session.output.say(f"saga: {refusal}\nnothing was done; this is what it would do now:")
        else:
            return


def _looked_at(session: Session, target: str, body: dict[str, Any], verb: str, *, yes: bool) -> int | None:
    """Show a preview and ask; the version that was agreed to, or None."""
    found = session.client.post(target, body, query={"preview": "true"}).value
    session.output.say(previewed(session.output, found))
    if not session.confirm(f"{verb.capitalize()} it?", yes=yes):
        return None
    return int(found["version"])


def _done(session: Session, target: str, body: dict[str, Any], version: int) -> None:
    answer = session.client.post(target, body, etag=f'"{version}"')
    session.output.one(answer, _standing)


def _standing(saga: Item) -> Text:
    stands = styled(saga.get("status"))
    return Text.assemble(f"{plain(saga.get('id'))} is ", stands, f" at version {plain(saga.get('version'))}")


def previewed(output: Output, preview: Item) -> Any:
    """What a verb would do, for people."""
    head = Text.assemble(
        f"{plain(preview.get('verb'))} of a saga at version {plain(preview.get('version'))}: ",
        styled(preview.get("status")),
        " -> ",
        styled(preview.get("next_status")),
    )
    lines = [head]
    for command_ in preview.get("commands") or []:
        what, whom, step, attempt = (plain(command_.get(name)) for name in _COMMAND)
        lines.append(Text(f"  sends {what} to {whom} for {step}, attempt {attempt}"))
        if output.shape == "wide":
            lines.append(Text(f"    {plain(command_.get('payload'))}"))
    if not preview.get("commands"):
        lines.append(Text("  sends nothing now"))
    for name, words, style in (  # what cannot be taken back stands out
        ("to_be_undone", "undoes, one after the other", ""),
        ("stays_done", "cannot or will not undo", "bold red"),
        ("incidents", "opens an incident", "yellow"),
    ):
        if found := preview.get(name):
            lines.append(Text(f"  {words}: {', '.join(plain(each) for each in found)}", style))
    return Text("\n").join(lines)
