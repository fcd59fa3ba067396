"""Starting sagas and following them as they go: `start`, `watch`, `tail`.

The stream of a saga says when to look; what happened is read from its log, so nothing is shown twice or left out
however often the stream breaks. Where there is no stream, it is looked at once a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from coordinator.exits import ExitCode
from coordinator.remote.client import Client, dumped, path
from coordinator.remote.completing import complete_definitions
from coordinator.remote.filters import Definition, Labels, Statuses, Version, labels_of
from coordinator.remote.inputs import json_of
from coordinator.remote.output import Item, Output, plain, styled
from coordinator.remote.refusals import Refusal
from coordinator.remote.sagas import SagaId
from coordinator.remote.session import Session, chosen, command
from coordinator.remote.times import moment_of

app = typer.Typer()

TERMINAL: Final = ("completed", "failed", "abandoned")
POLL_S, AGAIN_S, AGAIN_MAX_S = 1.0, 0.5, 10.0
_LOG_PAGE: Final = 1_000
_NOTICES: Final = ("gap", "overrun", "end")  # of the stream itself, not of a saga


@app.command("start")
@command
def start(
    session: Session,
    definition: Annotated[
        str,
        typer.Argument(help="a definition's name", autocompletion=complete_definitions, show_default=False),
    ],
    given: Annotated[str, typer.Option("--input", "-i", help="JSON, a file, or - for standard input")],
    version: Version = None,
    label: Labels = None,
    at: Annotated[str | None, typer.Option("--at", help="when it begins: a moment, or a span from now")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="follow it to its end, as `watch` does")] = False,
) -> None:
    """Start a saga; the same business key with the same input is the same saga."""
    body = {
        "definition": definition,
        "input": json_of(given, "--input"),
        **chosen(version=version, labels=labels_of(label) or None, start_at=moment_of(at, ahead=True)),
    }
    answer = session.client.post("/v1/sagas", body)
    if not wait:
        session.output.one(answer, lambda saga: _begun(saga, answer.status))
        return
    session.output.say(_begun(answer.value, answer.status))
    _watched(session, str(answer.value["id"]))


@app.command("watch")
@command
def watch(session: Session, saga_id: SagaId) -> None:
    """Follow a saga live to its end; exit code 0 if it completed, 1 if it ended otherwise."""
    _watched(session, saga_id)


@app.command("tail")
@command
def tail(session: Session, definition: Definition = None, status: Statuses = None) -> None:
    """Follow what happens to all sagas, or to those of a definition or status, until Ctrl-C."""
    query = chosen(definition=definition, status=status)
    last_id: str | None = None
    pauses = _Pauses(session)
    while True:
        try:
            for event in session.client.events("/v1/events", query, last_id):
                last_id = event.id or last_id
                pauses.reset()
                _tell_event(session.output, event.kind, event.data)
        except Refusal as refusal:
            if refusal.code is not ExitCode.UNAVAILABLE:
                raise
            pauses.rest(str(refusal))
        else:
            pauses.rest("the stream ended")


def follow(client: Client, saga_id: str, tell: Callable[[Item], None], pauses: _Pauses) -> str:
    """Tell every transition of a saga once, until it has ended; the status in which it ended. Raises Refusal."""
    seen = 0
    for _ in _signals(client, saga_id, pauses):
        try:
            status = str(client.get(path("sagas", saga_id)).value["status"])
            for entry in _log_after(client, saga_id, seen):
                seen = entry["version"]
                tell(entry)
        except Refusal as refusal:
            if refusal.code is not ExitCode.UNAVAILABLE or seen == 0:
                raise
            pauses.rest(str(refusal))
            continue
        if status in TERMINAL:
            return status
    raise AssertionError  # signals do not end


class _Pauses:
    """Waits longer each time until something works again, and says once why."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next_s = AGAIN_S

    def reset(self) -> None:
        """Something works."""
        self._next_s = AGAIN_S

    def rest(self, why: str) -> None:
        """Wait before it is tried again."""
        if self._next_s == AGAIN_S:
            self._session.output.say(f"saga: {why}; trying again")
        time.sleep(self._next_s)
        self._next_s = min(self._next_s * 2, AGAIN_MAX_S)


def _watched(session: Session, saga_id: str) -> None:
    output = session.output
    status = follow(session.client, saga_id, lambda entry: _tell_entry(output, entry), _Pauses(session))
    if output.for_people:
        output.console.print(Text.assemble(f"{saga_id} ", styled(status)))
    if status != "completed":
        raise typer.Exit(ExitCode.NO)


def _signals(client: Client, saga_id: str, pauses: _Pauses) -> Iterator[None]:
    """Say when there may be something new: at once, then at each event, or every second where there is no stream."""
    last_id: str | None = None
    yield
    while True:
        try:
            for event in client.events(path("sagas", saga_id, "events"), {}, last_id):
                last_id = event.id or last_id
                pauses.reset()
                yield
        except Refusal as refusal:
            if refusal.code is not ExitCode.UNAVAILABLE:
                break
            pauses.rest(str(refusal))
        else:
            time.sleep(AGAIN_S)
        yield
    while True:
        time.sleep(POLL_S)
        yield


def _log_after(client: Client, saga_id: str, after: int) -> Iterator[Item]:
    following: int | None = after
    while following is not None:
        page = client.get(path("sagas", saga_id, "log"), {"after": following, "limit": _LOG_PAGE}).value
        yield from page["entries"]
        following = page.get("next_after")


def _tell_entry(output: Output, entry: Item) -> None:
    if not output.for_people:
        _machine_line(output, entry)
        return
    at, step = output.times.show(entry.get("at")), entry.get("step_name")
    line = Text.assemble(f"{at}  {plain(entry.get('version')):>4}  {plain(entry.get('event')):<28} ")
    line.append(f"{plain(step) if step else '':<24} ")
    line.append_text(styled(entry.get("status")))
    if output.shape == "wide":
        line.append(f"  {plain(entry.get('data'))}")
    output.console.print(line)


def _tell_event(output: Output, kind: str, data: str) -> None:
    if kind in _NOTICES:
        output.say(f"saga: the stream says {kind}: {data}")
        return
    try:
        said = json.loads(data)
    except ValueError:
        said = data
    if not output.for_people:
        _machine_line(output, said)
        return
    if not isinstance(said, dict):
        output.console.print(Text(f"{plain(kind)}  {plain(said)}"))
        return
    at = output.times.show(said.get("at") or said.get("updated_at"))
    saga_id = said.get("saga_id") or said.get("id")
    words = [said.get("definition"), said.get("event") or kind, said.get("step_name")]
    line = Text(f"{at}  {plain(saga_id)}  " + "  ".join(plain(word) for word in words if word is not None) + "  ")
    line.append_text(styled(said.get("status")))
    output.console.print(line)


def _machine_line(output: Output, value: Any) -> None:
    """One of many: a document of its own in YAML, else a line."""
    if output.shape == "yaml":
        output.raw("---")
        output.value(value)
    else:
        output.raw(dumped(value))


def _begun(saga: Item, status: int) -> Text:
    word = "is new" if status == 201 else "was there before"
    return Text.assemble(f"{plain(saga.get('id'))} {word}: ", styled(saga.get("status")))
