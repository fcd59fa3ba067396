"""Dead letters: `dlq`. Look at one, send it again as it came or edited, or say that it is not wanted any more."""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer

from coordinator.exits import ExitCode
from coordinator.remote.client import path
from coordinator.remote.groups import Listing
from coordinator.remote.inputs import edited, json_of, text_of
from coordinator.remote.output import Column, Item, member
from coordinator.remote.refusals import misused
from coordinator.remote.session import (
    LIMIT_DEFAULT,
    Cursor,
    Everything,
    Limit,
    Reason,
    Session,
    Yes,
    chosen,
    command,
)

app = typer.Typer()
dlq = typer.Typer(cls=Listing, help="Dead letters: look, send again as they came or edited, discard.")
app.add_typer(dlq, name="dlq")

PATH: Final = "dead-letters"
LetterId = Annotated[str, typer.Argument(help="the letter's id", show_default=False)]


@dlq.command("list")
@command
def list_letters(
    session: Session,
    state: Annotated[str | None, typer.Option("--state", help="open, redriven or discarded; all for all")] = "open",
    kind: Annotated[str | None, typer.Option("--kind", help="record, action or compensation")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="set aside for this reason")] = None,
    saga: Annotated[str | None, typer.Option("--saga", help="of this saga")] = None,
    limit: Limit = LIMIT_DEFAULT,
    everything: Everything = False,
    cursor: Cursor = None,
) -> None:
    """List dead letters; the open ones where nothing else is asked for."""
    columns = [
        Column("ID", member("id"), whole=True),
        Column("KIND", member("kind")),
        Column("STATE", member("state"), whole=True),
        Column("REASON", member("reason"), whole=True),
        Column("SAGA", member("saga_id"), whole=True),
        Column("TRIES", member("tries")),
        Column("AT", session.output.moment("at")),
        Column("NEXT TRY", session.output.moment("next_try_at"), wide=True),
        Column("TOPIC", member("topic"), wide=True),
        Column("COMMAND", member("command_id"), wide=True),
        Column("DETAIL", member("detail")),
    ]
    query = chosen(state=None if state == "all" else state, kind=kind, reason=reason, saga_id=saga)
    session.listing(path(PATH), "dead_letters", columns, query, limit=limit, everything=everything, cursor=cursor)


@dlq.command("show")
@command
def show(session: Session, letter_id: LetterId) -> None:
    """Show a letter with what can be read of it."""
    session.output.one(session.client.get(path(PATH, letter_id)))


@dlq.command("redrive")
@command
def redrive(
    session: Session,
    letter_id: LetterId,
    reason: Reason = None,
    edit: Annotated[bool, typer.Option("--edit", help="change the value in EDITOR first")] = False,
    value: Annotated[str | None, typer.Option("--value", help="another value: a file, or -")] = None,
    headers: Annotated[str | None, typer.Option("--headers", help="other headers: JSON, a file, or -")] = None,
    new_identity: Annotated[
        bool, typer.Option("--new-identity", help="the edited value may be of another saga or command")
    ] = False,
    yes: Yes = False,
) -> None:
    """Send a letter again, as it came or edited."""
    if edit and value is not None:
        raise misused("give --edit or --value, not both")
    changed = text_of(value, "--value") if value is not None else None
    seen: str | None = None
    if edit:
        changed, seen = _changed(session, letter_id)
    body = {
        **chosen(value=changed, headers=None if headers is None else json_of(headers, "--headers")),
        **({"new_identity": True} if new_identity else {}),
    }
    what = "edited" if changed is not None or headers is not None else "as it came"
    if not session.confirm(f"Send letter {letter_id} again, {what}?", yes=yes):
        session.output.say("nothing was done")
        raise typer.Exit(ExitCode.NO)
    body["reason"] = session.reason(reason)
    session.output.one(session.client.post(path(PATH, letter_id, "redrive"), body, etag=seen))


@dlq.command("discard")
@command
def discard(session: Session, letter_id: LetterId, reason: Reason = None, yes: Yes = False) -> None:
    """Say that a letter is not wanted any more; it is kept, and never sent."""
    if not session.confirm(f"Discard letter {letter_id}?", yes=yes):
        session.output.say("nothing was done")
        raise typer.Exit(ExitCode.NO)
    session.output.one(session.client.post(path(PATH, letter_id, "discard"), {"reason": session.reason(reason)}))


def _changed(session: Session, letter_id: str) -> tuple[str, str | None]:
    """The letter's value as the person leaves it, and the ETag of what they saw; ends where nothing was changed."""
    answer = session.client.get(path(PATH, letter_id))
    text = value_text(answer.value)
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
        suffix = ".json"
    except ValueError:
        suffix = ".txt"
    changed = edited(text, suffix)
    if changed == text:
        session.output.say("nothing was changed, so nothing was done")
        raise typer.Exit(ExitCode.OK)
    return changed, answer.etag


def value_text(letter: Item) -> str:
    """The value that would be sent, as text; raises Refusal where it is none, or not all of it can be seen."""
    record = letter.get("edited_record") or letter.get("record") or {}
    value = record.get("value") or {}
    if value.get("masked"):
        raise misused("this key may not see all of the value, so it cannot be edited")
    if isinstance(value.get("text"), str):
        return str(value["text"])
    raise misused("the letter has no value that is text: write another one with --value")
