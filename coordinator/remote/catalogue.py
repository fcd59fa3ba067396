"""Looking at what surrounds sagas: `definitions` (of a server), `participants`, `audit`, `whoami`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from coordinator.remote.client import path
from coordinator.remote.output import Column, Item, member
from coordinator.remote.session import LIMIT_DEFAULT, Cursor, Everything, Limit, Session, chosen, command, items_of
from coordinator.remote.times import moment_of

app = typer.Typer()


@app.command("definitions")
@command
def definitions(
    session: Session,
    word: Annotated[str, typer.Argument(metavar="[list]", show_default=False, hidden=True)] = "list",
) -> None:
    """List the definitions that a server knows and what runs on them; show one, or write the AsyncAPI document."""
    if word != "list":
        raise typer.BadParameter(f"there is no {word!r}: list, show or asyncapi", param_hint="definitions")
    columns = [
        Column("NAME", member("name"), whole=True),
        Column("VERSION", member("version")),
        Column("STEPS", member("steps")),
        Column("CONTENT", lambda view: (view.get("content_hash") or "-")[:12], wide=True),
        Column("IN FLIGHT", member("in_flight")),
        Column("SUSPENDED", member("suspended")),
        Column("REPLICAS", lambda view: f"{_number(view.get('known_by'))}/{_number(view.get('replicas'))}"),
        Column("", _marks),
    ]
    _whole(session, "/v1/definitions", "definitions", columns)


@app.command("participants")
@command
def participants(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="one of them; all if none is given", show_default=False)] = None,
) -> None:
    """Show the participants: in flight, held back, silent since when, how far behind."""
    if name is not None:
        session.output.one(session.client.get(path("participants", name)))
        return
    _whole(session, "/v1/participants", "participants", participant_columns(session))


@app.command("audit")
@command
def audit(
    session: Session,
    actor: Annotated[str | None, typer.Option("--actor", help="who")] = None,
    action: Annotated[str | None, typer.Option("--action", help="did what")] = None,
    saga: Annotated[str | None, typer.Option("--saga", help="to this saga")] = None,
    letter: Annotated[int | None, typer.Option("--letter", min=1, help="to this dead letter")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="to this, such as key:3f2a9c10")] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="done or refused")] = None,
    since: Annotated[str | None, typer.Option("--since", help="then or later: a moment, or a span such as 2h")] = None,
    until: Annotated[str | None, typer.Option("--until", help="before: a moment, or a span")] = None,
    limit: Limit = LIMIT_DEFAULT,
    everything: Everything = False,
    cursor: Cursor = None,
) -> None:
    """Show who did what and why, newest first, and what was refused."""
    columns = [
        Column("AT", session.output.moment("at")),
        Column("ACTOR", member("actor")),
        Column("ACTION", member("action"), whole=True),
        Column("ON", _subject, whole=True),
        Column("OUTCOME", member("outcome")),
        Column("REASON", member("reason")),
        Column("FROM", member("version_before"), wide=True),
        Column("TO", member("version_after"), wide=True),
        Column("REQUEST", member("request_id"), wide=True),
    ]
    query = chosen(
        actor=actor,
        action=action,
        saga_id=saga,
        letter_id=letter,
        subject=subject,
        outcome=outcome,
        since=moment_of(since),
        until=moment_of(until),
    )
    session.listing("/v1/audit", "acts", columns, query, limit=limit, everything=everything, cursor=cursor)


@app.command("whoami")
@command
def whoami(session: Session) -> None:
    """Show as whom the server knows you, and what you may do."""
    session.output.one(session.client.get("/v1/whoami"))


def participant_columns(session: Session) -> list[Column]:
    """What a list of participants shows."""
    return [
        Column("NAME", member("name"), whole=True),
        Column("BREAKER", member("breaker")),
        Column("IN FLIGHT", member("in_flight")),
        Column("LIMIT", member("limit"), wide=True),
        Column("HELD", member("held")),
        Column("LAG", member("lag")),
        Column("FAILING", lambda each: _share((each.get("recent") or {}).get("failure_rate"))),
        Column("P99 MS", lambda each: (each.get("recent") or {}).get("p99_ms"), wide=True),
        Column("LAST REPLY", session.output.moment("last_reply_at")),
        Column("SINCE", session.output.moment("since"), wide=True),
        Column("WHY", member("why"), wide=True),
    ]


def _whole(session: Session, target: str, name: str, columns: list[Column]) -> None:
    """Show a list that has no pages."""
    answer = session.client.get(target)
    if session.output.for_people or session.output.shape == "jsonl":
        session.output.items(items_of(answer, name), columns)
    else:
        session.output.one(answer)


def _share(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"


def _number(value: Any) -> str:
    return "-" if value is None else str(value)


def _marks(view: Item) -> str:
    marks = {"not loaded there": view.get("loaded") is False, "replaced": view.get("replaced") is True}
    return ", ".join(word for word, holds in marks.items() if holds)


def _subject(act: Item) -> Any:
    return act.get("saga_id") or act.get("letter_id") or act.get("subject")
