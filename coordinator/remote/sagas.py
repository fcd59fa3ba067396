"""Looking at sagas: `list`, `show`, `tree`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from coordinator.exits import ExitCode
from coordinator.remote.client import path
from coordinator.remote.completing import complete_sagas
from coordinator.remote.filters import filtered
from coordinator.remote.output import Column, Item, Output, member, plain, styled
from coordinator.remote.refusals import Refusal
from coordinator.remote.session import LIMIT_DEFAULT, Cursor, Everything, Limit, Session, command, items_of

app = typer.Typer()

SagaId = Annotated[str, typer.Argument(help="a saga's id", autocompletion=complete_sagas, show_default=False)]


@app.command("list")
@command
@filtered
def list_sagas(
    session: Session,
    query: dict[str, Any],
    limit: Limit = LIMIT_DEFAULT,
    everything: Everything = False,
    cursor: Cursor = None,
) -> None:
    """List sagas, newest first."""
    columns = saga_columns(session.output)
    session.listing("/v1/sagas", "sagas", columns, query, limit=limit, everything=everything, cursor=cursor)


@app.command("show")
@command
def show(
    session: Session,
    saga_id: SagaId,
    log: Annotated[bool, typer.Option("--log", help="also its log")] = False,
) -> None:
    """Show a saga: how it stands, its steps, its incidents."""
    answer = session.client.get(path("sagas", saga_id), {"include": "log" if log else None})
    session.output.one(answer, lambda saga: shown(session.output, saga))


@app.command("tree")
@command
def tree(session: Session, saga_id: SagaId) -> None:
    """Draw a saga: steps forward, compensations back, incidents and dead letters."""
    answer = session.client.get(path("sagas", saga_id))
    letters = _letters(session, saga_id)
    if session.output.for_people:
        session.output.console.print(drawn(session.output, answer.value, letters))
    else:
        session.output.value({"saga": answer.value, "dead_letters": letters})


def saga_columns(output: Output) -> list[Column]:
    """What a list of sagas shows."""
    return [
        Column("ID", member("id"), whole=True),
        Column("DEFINITION", member("definition")),
        Column("VERSION", member("definition_version"), wide=True),
        Column("KEY", member("business_key")),
        Column("STATUS", member("status"), whole=True),
        Column("AT", member("version"), wide=True),
        Column("CREATED", output.moment("created_at"), wide=True),
        Column("UPDATED", output.moment("updated_at")),
        Column("DEADLINE", output.moment("deadline"), wide=True),
        Column("LABELS", lambda saga: _labels(saga.get("labels")), wide=True),
    ]


def step_columns(output: Output) -> list[Column]:
    """What a saga's steps show."""
    return [
        Column("STEP", member("name"), whole=True),
        Column("PARTICIPANT", lambda step: step.get("participant") or "(outside)"),
        Column("OUTCOME", lambda step: Text("held", "yellow") if step.get("held") else styled(step.get("outcome"))),
        Column("UNDO", member("undo")),
        Column("TRIES", member("attempts")),
        Column("UNDO TRIES", member("undo_attempts"), wide=True),
        Column("GENERATION", member("generation"), wide=True),
        Column("DEADLINE", output.moment("deadline")),
        Column("RESULT", member("result"), wide=True),
    ]


def incident_columns(output: Output) -> list[Column]:
    """What a saga's own incidents show."""
    return [
        Column("INCIDENT", member("reason"), whole=True),
        Column("STEP", member("step_name")),
        Column("OPENED", output.moment("opened_at")),
        Column("RESOLVED", output.moment("resolved_at")),
        Column("BY", member("resolved_by"), wide=True),
        Column("DETAIL", member("detail")),
    ]


def log_columns(output: Output) -> list[Column]:
    """What a saga's log shows."""
    return [
        Column("AT", output.moment("at")),
        Column("VERSION", member("version")),
        Column("EVENT", member("event"), whole=True),
        Column("STEP", member("step_name")),
        Column("STATUS", member("status")),
        Column("DATA", member("data"), wide=True),
    ]


def shown(output: Output, saga: Item) -> RenderableType:
    """A saga for people: a head, and tables below it."""
    tables = {
        "steps": step_columns(output),
        "incidents": incident_columns(output),
        "log": log_columns(output),
    }
    hidden = () if output.shape == "wide" else ("input", "traceparent")
    head = {name: value for name, value in saga.items() if name not in tables and name not in hidden}
    blocks: list[RenderableType] = [output.details(head)]
    for name, columns in tables.items():
        if saga.get(name):
            blocks += [Text(), output.table(saga[name], columns)]
    if saga.get("steps") is None and "steps" in saga:
        blocks += [Text(), Text("this coordinator does not know the saga's definition: its steps cannot be shown")]
    return Group(*blocks)


def drawn(output: Output, saga: Item, letters: list[Item] | None) -> Tree:
    """A saga as a tree with a lane forward, and one back where anything is or will be undone."""
    title = f"{plain(saga.get('definition'))} {plain(saga.get('business_key'))}  {plain(saga.get('id'))}  "
    root = Tree(Text.assemble(title, styled(saga.get("status")), f"  version {plain(saga.get('version'))}"))
    steps = saga.get("steps") or []
    forward = root.add(Text("forward", "bold"))
    for step in steps:
        forward.add(_forward(output, step))
    undone = [step for step in reversed(steps) if step.get("undo") not in (None, "none")]
    if undone:
        back = root.add(Text("compensation", "bold"))
        for step in undone:
            back.add(_backward(step))
    if incidents := saga.get("incidents") or []:
        branch = root.add(Text("incidents", "bold"))
        for incident in incidents:
            branch.add(_incident(output, incident))
    if letters is None or letters:
        branch = root.add(Text("dead letters", "bold"))
        if letters is None:
            branch.add(Text("not shown: this key may not look at them", "dim"))
        for letter in letters or []:
            words = " ".join(plain(letter.get(name)) for name in ("id", "kind", "reason", "detail"))
            branch.add(Text.assemble(styled(letter.get("state")), f"  {words}"))
    return root


def _forward(output: Output, step: Item) -> Text:
    does = f"{plain(step.get('participant'))}.{plain(step.get('action'))}" if step.get("action") else "(outside)"
    more = f"  try {step['attempts']}" if step.get("attempts", 0) > 1 else ""
    if step.get("deadline"):
        more += f"  until {output.times.show(step['deadline'])}"
    if step.get("held"):
        more += "  held back"
    group = f"  group {plain(step['group'])}" if step.get("group") else ""
    return Text.assemble(f"{plain(step.get('name'))}  {does}{group}  ", styled(step.get("outcome")), more)


def _backward(step: Item) -> Text:
    more = f"  try {step['undo_attempts']}" if step.get("undo_attempts", 0) > 1 else ""
    effect = f"  {plain(step['effect'])}" if step.get("effect") else ""
    does = f"{plain(step.get('participant'))}.{plain(step.get('compensation'))}"
    return Text.assemble(f"{plain(step.get('name'))}  {does}  ", styled(step.get("undo")), more, effect)


def _incident(output: Output, incident: Item) -> Text:
    resolved = incident.get("resolved_at")
    state = Text("resolved", "green") if resolved else styled("open")
    step = f" at {plain(incident['step_name'])}" if incident.get("step_name") else ""
    since = output.times.show(incident.get("opened_at"))
    what = f"  {plain(incident.get('reason'))}{step}  since {since}  "
    return Text.assemble(state, what, plain(incident.get("detail")))


def _letters(session: Session, saga_id: str) -> list[Item] | None:
    """The dead letters of a saga; None where this key may not see them."""
    try:
        answer = session.client.get("/v1/dead-letters", {"saga_id": saga_id, "limit": 200})
    except Refusal as refusal:
        if refusal.code in (ExitCode.FORBIDDEN, ExitCode.NOT_FOUND):
            return None
        raise
    return items_of(answer, "dead_letters")


def _labels(labels: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items()) if isinstance(labels, dict) else "-"
