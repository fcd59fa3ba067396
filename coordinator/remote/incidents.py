"""Open problems of sagas, and who has them: `incidents`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from coordinator.remote.client import path
from coordinator.remote.filters import Definition
from coordinator.remote.groups import Listing
from coordinator.remote.output import Column, member
from coordinator.remote.refusals import misused
from coordinator.remote.session import LIMIT_DEFAULT, Cursor, Everything, Limit, Reason, Session, chosen, command

app = typer.Typer()
incidents = typer.Typer(cls=Listing, help="What needs a person: look, take it, note, say that it is over.")
app.add_typer(incidents, name="incidents")

PATH: Final = "incidents"
IncidentId = Annotated[str, typer.Argument(help="the incident's id", show_default=False)]


@incidents.command("list")
@command
def list_incidents(
    session: Session,
    state: Annotated[str | None, typer.Option("--state", help="open or resolved; all for both")] = "open",
    reason: Annotated[str | None, typer.Option("--reason", help="of this reason")] = None,
    assignee: Annotated[str | None, typer.Option("--assignee", help="whom it was given to")] = None,
    definition: Definition = None,
    limit: Limit = LIMIT_DEFAULT,
    everything: Everything = False,
    cursor: Cursor = None,
) -> None:
    """List incidents; the open ones where nothing else is asked for."""
    columns = [
        Column("ID", member("id"), whole=True),
        Column("SAGA", member("saga_id"), whole=True),
        Column("REASON", member("reason"), whole=True),
        Column("STEP", member("step_name")),
        Column("DEFINITION", member("definition"), wide=True),
        Column("OPENED", session.output.moment("opened_at")),
        Column("WHO", member("assignee")),
        Column("RESOLVED", session.output.moment("resolved_at"), wide=state == "open"),
        Column("BY", member("resolved_by"), wide=state == "open"),
        Column("DETAIL", member("detail")),
    ]
    query = chosen(state=None if state == "all" else state, reason=reason, assignee=assignee, definition=definition)
    session.listing(path(PATH), "incidents", columns, query, limit=limit, everything=everything, cursor=cursor)


@incidents.command("show")
@command
def show(session: Session, incident_id: IncidentId) -> None:
    """Show an incident with its notes."""
    session.output.one(session.client.get(path(PATH, incident_id)))


@incidents.command("assign")
@command
def assign(
    session: Session,
    incident_id: IncidentId,
    to: Annotated[str | None, typer.Option("--to", help="who takes it")] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="who had it has it no more")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="why")] = None,
) -> None:
    """Say who takes care of an incident."""
    if (to is None) is not nobody:
        raise misused("say who: --to NAME, or --nobody")
    body = {"assignee": to, **chosen(reason=reason)}
    session.output.one(session.client.post(path(PATH, incident_id, "assign"), body))


@incidents.command("note")
@command
def note(
    session: Session,
    incident_id: IncidentId,
    text: Annotated[str, typer.Argument(help="what others should know", show_default=False)],
) -> None:
    """Write down what was found."""
    session.output.one(session.client.post(path(PATH, incident_id, "notes"), {"text": text}))


@incidents.command("resolve")
@command
def resolve(session: Session, incident_id: IncidentId, reason: Reason = None) -> None:
    """Say that an incident is over."""
    session.output.one(session.client.post(path(PATH, incident_id, "resolve"), {"reason": session.reason(reason)}))
