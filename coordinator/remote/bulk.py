"""One verb for many sagas: `bulk`. Counted first, confirmed with the count, then followed; Ctrl-C leaves it running."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coordinator.exits import ExitCode
from coordinator.remote.acting import Resolution
from coordinator.remote.client import path
from coordinator.remote.filters import filtered
from coordinator.remote.groups import Listing
from coordinator.remote.inputs import json_of
from coordinator.remote.output import Column, Item, Output, member, plain
from coordinator.remote.refusals import Refusal, misused
from coordinator.remote.session import LIMIT_DEFAULT, Cursor, Everything, Limit, Reason, Session, Yes, chosen, command

app = typer.Typer()
bulk = typer.Typer(cls=Listing, help="Do a verb to all sagas that a filter finds, at a rate; look at such work.")
app.add_typer(bulk, name="bulk")

PATH: Final = "batch-operations"
POLL_S, AGAIN_S = 0.5, 5.0
_ENDED: Final = ("done", "cancelled")
_MOVED_ON: Final = (409, 410, 412)

Rate = Annotated[int | None, typer.Option("--rate", min=1, max=10_000, help="sagas a second, at most")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="count, show some, and do nothing")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="do not follow it")]
VerbStep = Annotated[str | None, typer.Option("--verb-step", help="the step that is meant, if it is not --step")]
OperationId = Annotated[str, typer.Argument(help="the id of bulk work", show_default=False)]


def _plain_verb(name: str, sentence: str) -> None:
    """Add a verb that needs nothing but the sagas."""

    @bulk.command(name, help=sentence)
    @command
    @filtered
    def run(
        session: Session,
        wanted: dict[str, Any],
        reason: Reason = None,
        rate: Rate = None,
        dry_run: DryRun = False,
        no_wait: NoWait = False,
        yes: Yes = False,
    ) -> None:
        _work(session, {"verb": name}, wanted, reason, rate, dry_run=dry_run, no_wait=no_wait, yes=yes)


for _name, _sentence in {
    "retry": "Let suspended sagas go on.",
    "compensate": "Cancel sagas: what was done is undone.",
    "suspend": "Halt sagas.",
    "abandon": "Give sagas up: what was done stays done.",
}.items():
    _plain_verb(_name, _sentence)


@bulk.command("resume")
@command
@filtered
def resume(
    session: Session,
    wanted: dict[str, Any],
    operation_id: Annotated[
        str | None, typer.Argument(help="paused bulk work, to go on with it; none: the verb", show_default=False)
    ] = None,
    reason: Reason = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    yes: Yes = False,
) -> None:
    """Let halted sagas go on; with an id, go on with bulk work that was paused."""
    if operation_id is None:
        _work(session, {"verb": "resume"}, wanted, reason, rate, dry_run=dry_run, no_wait=no_wait, yes=yes)
        return
    if wanted or rate is not None or dry_run:
        raise misused("give the id of bulk work, or a filter of sagas, not both")
    _steer(session, operation_id, "resume", reason)


@bulk.command("skip")
@command
@filtered
def skip(
    session: Session,
    wanted: dict[str, Any],
    verb_step: VerbStep = None,
    reason: Reason = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    yes: Yes = False,
) -> None:
    """Leave a step out: --step, or --verb-step."""
    verb = {"verb": "skip", "step": _step(wanted, verb_step)}
    _work(session, verb, wanted, reason, rate, dry_run=dry_run, no_wait=no_wait, yes=yes)


@bulk.command("resolve")
@command
@filtered
def resolve(
    session: Session,
    wanted: dict[str, Any],
    resolution: Annotated[Resolution, typer.Option("--resolution", help="what happened", show_default=False)],
    verb_step: VerbStep = None,
    result: Annotated[str | None, typer.Option("--result", help="of a completed step: JSON, a file, or -")] = None,
    reason: Reason = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    yes: Yes = False,
) -> None:
    """State what has really happened to a step: --step, or --verb-step."""
    verb: dict[str, Any] = {"verb": "resolve", "step": _step(wanted, verb_step), "resolution": resolution}
    if result is not None:
        verb["result"] = json_of(result, "--result")
    _work(session, verb, wanted, reason, rate, dry_run=dry_run, no_wait=no_wait, yes=yes)


@bulk.command("list")
@command
def list_operations(
    session: Session,
    state: Annotated[str | None, typer.Option("--state", help="running, paused, cancelled or done")] = None,
    limit: Limit = LIMIT_DEFAULT,
    everything: Everything = False,
    cursor: Cursor = None,
) -> None:
    """List bulk work, newest first."""
    columns = [
        Column("ID", member("id"), whole=True),
        Column("VERB", member("verb")),
        Column("STATE", member("state"), whole=True),
        *(Column(name.upper(), _count(name)) for name in ("total", "done", "refused", "failed", "left")),
        Column("ACTOR", member("actor")),
        Column("CREATED", session.output.moment("created_at")),
        Column("REASON", member("reason"), wide=True),
        Column("FILTER", member("filter"), wide=True),
    ]
    session.listing(
        path(PATH), "batch_operations", columns, chosen(state=state), limit=limit, everything=everything, cursor=cursor
    )


@bulk.command("show")
@command
def show(
    session: Session,
    operation_id: OperationId,
    follow: Annotated[bool, typer.Option("--follow", help="to its end")] = False,
) -> None:
    """Show bulk work and how far it is."""
    answer = session.client.get(path(PATH, operation_id))
    if follow and answer.value.get("state") not in _ENDED:
        _followed(session, answer.value)
        return
    session.output.one(answer)


@bulk.command("items")
@command
def items(
    session: Session,
    operation_id: OperationId,
    outcome: Annotated[str | None, typer.Option("--outcome", help="left, done, refused or failed")] = None,
    limit: Limit = LIMIT_DEFAULT,
    everything: Everything = False,
    cursor: Cursor = None,
) -> None:
    """List what came of each saga."""
    columns = [
        Column("SAGA", member("saga_id"), whole=True),
        Column("OUTCOME", member("outcome")),
        Column("DETAIL", member("detail")),
        Column("FROM", member("version"), wide=True),
        Column("TO", member("version_after"), wide=True),
    ]
    query = chosen(outcome=outcome)
    target = path(PATH, operation_id, "items")
    session.listing(target, "items", columns, query, limit=limit, everything=everything, cursor=cursor)


@bulk.command("pause")
@command
def pause(session: Session, operation_id: OperationId, reason: Reason = None) -> None:
    """Pause bulk work; `saga bulk resume ID` goes on with it."""
    _steer(session, operation_id, "pause", reason)


@bulk.command("cancel")
@command
def cancel(session: Session, operation_id: OperationId, reason: Reason = None) -> None:
    """End bulk work before it is done; what is done stays done."""
    _steer(session, operation_id, "cancel", reason)


def _steer(session: Session, operation_id: str, what: str, reason: str | None) -> None:
    answer = session.client.post(path(PATH, operation_id, what), {"reason": session.reason(reason)})
    session.output.one(answer)


def _work(
    session: Session,
    verb: dict[str, Any],
    wanted: dict[str, Any],
    reason: str | None,
    rate: int | None,
    *,
    dry_run: bool,
    no_wait: bool,
    yes: bool,
) -> None:
    if not wanted:
        raise misused("say which sagas: --status, --definition and the other options of the filter")
    body = {**verb, "filter": wanted, **chosen(rate=rate)}
    if dry_run:
        answer = session.client.post(path(PATH), {**body, "reason": reason or "a dry run", "dry_run": True})
        session.output.one(answer, lambda counted: _counted(session.output, body, counted))
        return
    body["reason"] = session.reason(reason)
    operation = _confirmed(session, body, yes=yes)
    if operation is None:
        return
    if no_wait:
        session.output.one(operation)
    else:
        _followed(session, operation.value)


def _confirmed(session: Session, body: dict[str, Any], *, yes: bool) -> Any:
    """Count, ask, and begin; again where the sagas are others meanwhile. None where there is nothing to do."""
    while True:
        counted = session.client.post(path(PATH), {**body, "dry_run": True}).value
        count = counted["count"]
        session.output.say(_counted(session.output, body, counted))
        if count == 0:
            return None
        if not session.confirm(f"{body['verb'].capitalize()} {_sagas(count)}?", yes=yes):
            session.output.say("nothing was done")
            raise typer.Exit(ExitCode.NO)
        confirmed = {**body, "dry_run": False, "confirmation": counted["confirmation"]}
        try:
            return session.client.post(path(PATH), confirmed)
        except Refusal as refusal:
            if refusal.status not in _MOVED_ON or yes or not session.interactive:
                raise
            session.output.say(f"saga: {refusal}\nnothing was done; counted anew:")


def _counted(output: Output, body: Item, counted: Item) -> Any:
    if counted["count"] == 0:
        return "no saga fits: nothing to do"
    sample: list[Item] = [each if isinstance(each, dict) else {"id": each} for each in counted.get("sample") or []]
    columns = [Column(name.upper(), member(name), whole=name == "id") for name in dict.fromkeys(_names(sample))]
    output.say(f"{body['verb']} would be done to {_sagas(counted['count'])}, such as:")
    return output.table(sample, columns)


def _sagas(count: int) -> str:
    return "1 saga" if count == 1 else f"{count} sagas"


def _names(sample: list[Item]) -> list[str]:
    wanted = ("id", "definition", "business_key", "status")
    return [name for name in wanted if any(name in each for each in sample)]


def _followed(session: Session, operation: Item) -> None:
    """Follow bulk work to its end; exit code 0 if all was done, 1 if something was refused, failed or cancelled."""
    id_ = str(operation["id"])
    try:
        operation = _until_ended(session, operation)
    except KeyboardInterrupt:
        session.output.say(f"it goes on without you: saga bulk show {id_} --follow; saga bulk cancel {id_}")
        raise
    answer = session.client.get(path(PATH, id_))
    session.output.one(answer)
    counts = operation.get("counts") or {}
    if operation.get("state") == "cancelled" or counts.get("refused") or counts.get("failed"):
        session.output.say(f"not all was done: saga bulk items {id_} --outcome refused (or failed)")
        raise typer.Exit(ExitCode.NO)


def _until_ended(session: Session, operation: Item) -> Item:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    aside = session.output.aside
    with Progress(*columns, console=aside, disable=not aside.is_terminal, transient=True) as bar:
        task = bar.add_task(plain(operation.get("verb")), total=None)
        while True:
            counts = operation.get("counts") or {}
            left, total = counts.get("left", 0), counts.get("total")
            refused = f", {counts['refused']} refused" if counts.get("refused") else ""
            failed = f", {counts['failed']} failed" if counts.get("failed") else ""
            state = plain(operation.get("state"))
            words = f"{plain(operation.get('verb'))} {state}{refused}{failed}"
            bar.update(task, total=total, completed=(total or 0) - left, description=words)
            if operation.get("state") in _ENDED:
                return operation
            time.sleep(POLL_S)
            operation = _looked(session, operation)


def _looked(session: Session, operation: Item) -> Item:
    """How it stands now, or as it was where the server is away: the work goes on there when it is back."""
    try:
        found: Item = session.client.get(path(PATH, str(operation["id"]))).value
    except Refusal as refusal:
        if refusal.code not in (ExitCode.UNAVAILABLE, ExitCode.RATE_LIMITED):
            raise
        time.sleep(AGAIN_S)
        return operation
    return found


def _step(wanted: Item, verb_step: str | None) -> str:
    step = verb_step or wanted.get("step")
    if not step:
        raise misused("say which step: --step, or --verb-step")
    return str(step)


def _count(name: str) -> Callable[[Item], Any]:
    return lambda operation: (operation.get("counts") or {}).get(name)
