"""The state of everything on one screen: `top`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from coordinator.exits import ExitCode
from coordinator.remote.catalogue import participant_columns
from coordinator.remote.client import Query
from coordinator.remote.completing import STATUSES
from coordinator.remote.filters import Definition
from coordinator.remote.output import Column, Item, Output, member, plain
from coordinator.remote.refusals import Refusal
from coordinator.remote.session import Session, chosen, command

app = typer.Typer()

_ABSENT: Final = (ExitCode.FORBIDDEN, ExitCode.NOT_FOUND)
_INCIDENTS: Final = 200  # asked for; the newest _SHOWN are shown
_SHOWN: Final = 10
_IN_PROGRESS: Final = ("started", "pending", "compensating")


@app.command("top")
@command
def top(
    session: Session,
    definition: Definition = None,
    every: Annotated[float, typer.Option("--every", min=0.5, max=3600, help="seconds between two looks")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="look once, and end")] = False,
) -> None:
    """Show live how many sagas stand how, what participants do, and what waits for a person."""
    output = session.output
    if not output.for_people:
        output.value(_looked(session, definition))
        return
    if once or not output.console.is_terminal:
        output.console.print(_screen(session, _looked(session, definition)))
        return
    found = _looked(session, definition)
    with Live(_screen(session, found), console=output.console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            try:
                found = _looked(session, definition)
                live.update(_screen(session, found), refresh=True)
            except Refusal as refusal:
                if refusal.code is not ExitCode.UNAVAILABLE:
                    raise
                live.update(Group(Text(f"{refusal}", "bold red"), _screen(session, found)), refresh=True)


def _looked(session: Session, definition: str | None) -> dict[str, Any]:
    """One look at everything; a part that this key may not see, or that the server does not have, is null."""
    chosen_ = chosen(definition=definition)
    return {
        "counts": _part(session, "/v1/sagas/counts", chosen_, "counts"),
        "participants": _part(session, "/v1/participants", {}, "participants"),
        "incidents": _part(session, "/v1/incidents", {"state": "open", "limit": _INCIDENTS, **chosen_}, "incidents"),
    }


def _part(session: Session, target: str, query: Query, name: str) -> Any:
    try:
        return session.client.get(target, query).value.get(name)
    except Refusal as refusal:
        if refusal.code in _ABSENT:
            return None
        raise


def _screen(session: Session, found: Mapping[str, Any]) -> RenderableType:
    output = session.output
    now = time.strftime("%H:%M:%S")
    blocks: list[RenderableType] = [Text(f"{session.client.server.url}  {now}", "dim"), _summary(found), Text()]
    for title, items, columns in (
        ("sagas", _by_definition(found["counts"]), _count_columns()),
        ("participants", found["participants"], participant_columns(session)),
        ("newest open incidents", _newest(found["incidents"]), _incident_columns(output)),
    ):
        blocks.append(Text(title, "bold underline"))
        if items is None:
            blocks.append(Text("not shown: this key may not see it, or the server does not have it", "dim"))
        elif not items:
            blocks.append(Text("none", "dim"))
        else:
            blocks.append(output.table(items, columns))
        blocks.append(Text())
    return Group(*blocks)


def _summary(found: Mapping[str, Any]) -> Text:
    """What goes on and what waits for a person, in one line."""
    line = Text()
    counts, incidents = found["counts"], found["incidents"]
    if counts is not None:
        sums = dict.fromkeys(STATUSES, 0)
        for each in counts:
            sums[each["status"]] = sums.get(each["status"], 0) + each["count"]
        line.append(f"{sum(sums[status] for status in _IN_PROGRESS)} in progress, {sums['scheduled']} scheduled, ")
        line.append(f"{sums['suspended']} stuck (suspended)", "bold red" if sums["suspended"] else "")
    if incidents is not None:
        more = " or more" if len(incidents) == _INCIDENTS else ""
        line.append(f"{', ' if line else ''}{len(incidents)}{more} open incidents", "bold red" if incidents else "")
    return line


def _newest(incidents: list[Item] | None) -> list[Item] | None:
    return None if incidents is None else incidents[:_SHOWN]


def _by_definition(counts: list[Item] | None) -> list[Item] | None:
    """Counts by status, a row for each definition."""
    if counts is None:
        return None
    rows: dict[str, dict[str, Any]] = {}
    for each in counts:
        row = rows.setdefault(each["definition"], {"definition": each["definition"]})
        row[each["status"]] = row.get(each["status"], 0) + each["count"]
    return [rows[name] for name in sorted(rows)]


def _count_columns() -> list[Column]:
    return [
        Column("DEFINITION", member("definition"), whole=True),
        *(Column(status.upper(), _count(status)) for status in STATUSES),
    ]


def _count(status: str) -> Any:
    style = "bold red" if status == "suspended" else ""
    return lambda row: Text(plain(row[status]), style) if row.get(status) else Text("-", "dim")


def _incident_columns(output: Output) -> list[Column]:
    return [
        Column("SAGA", member("saga_id"), whole=True),
        Column("REASON", member("reason"), whole=True),
        Column("STEP", member("step_name")),
        Column("SINCE", output.moment("opened_at")),
        Column("WHO", member("assignee")),
        Column("DETAIL", member("detail")),
    ]
