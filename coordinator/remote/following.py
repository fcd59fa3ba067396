"""Starting sagas and following them as they go: `start`, `watch`, `tail`.

The stream of a saga says when to look; what happened is read from its log, so nothing is shown twice or left out
however often the stream breaks. It is looked at now and then as well, so that nobody waits for an event that a stream
has lost; where there is no stream, once a second.
"""

from __future__ import annotations

import json
import math
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
from coordinator.remote.refusals import Refusal, misused
from coordinator.remote.sagas import SagaId
from coordinator.remote.session import Session, chosen, command
from coordinator.remote.times import moment_of, seconds_of

app = typer.Typer()

Timeout = Annotated[
    str | None, typer.Option("--timeout", help="follow it so long at most: a span such as 10m; then the code is 6")
]

TERMINAL: Final = ("completed", "failed", "abandoned")
POLL_S, AGAIN_S, AGAIN_MAX_S = 1.0, 0.5, 10.0
LOOK_S, SILENCE_S = 10.0, 60.0
_LOG_PAGE: Final = 1_000
_PASSING: Final = (ExitCode.UNAVAILABLE, ExitCode.RATE_LIMITED)  # it is worth trying again
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
    timeout: Timeout = None,
) -> None:
    """Start a saga; the same business key with the same input is the same saga."""
    if timeout is not None and not wait:
        raise misused("--timeout is for --wait")
    limit_s = seconds_of(timeout, "--timeout")
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
    _watched(session, str(answer.value["id"]), limit_s)


@app.command("watch")
@command
def watch(session: Session, saga_id: SagaId, timeout: Timeout = None) -> None:
    """Follow a saga live to its end; exit code 0 if it completed, 1 if it ended otherwise."""
    _watched(session, saga_id, seconds_of(timeout, "--timeout"))


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
                pauses.reset()
                if event is not None:
                    last_id = event.id or last_id
                    _tell_event(session.output, event.kind, event.data)
        except Refusal as refusal:
            if refusal.code is ExitCode.NOT_FOUND:
                told = f"{refusal}; this server has no stream of sagas: `saga top` and `saga list` look by asking"
                raise Refusal(told, refusal.code, refusal.status) from refusal
            if refusal.code not in _PASSING:
                raise
            pauses.rest(str(refusal))
        else:
            pauses.rest("the stream ended")


def follow(
    client: Client, saga_id: str, tell: Callable[[Item], None], pauses: _Pauses, limit_s: float | None = None
) -> str:
    """Tell every transition of a saga once, until it has ended; the status in which it ended.

    Raises Refusal; with the code UNAVAILABLE when it has not ended within `limit_s`.
    """
    seen, status = 0, "where it was"
    until = None if limit_s is None else time.monotonic() + limit_s
    for _ in _signals(client, saga_id, pauses, until):
        try:
            status = str(client.get(path("sagas", saga_id)).value["status"])
            for entry in _log_after(client, saga_id, seen):
                seen = entry["version"]
                tell(entry)
        except Refusal as refusal:
            if refusal.code not in _PASSING or seen == 0:
                raise
            pauses.rest(str(refusal))
            continue
        if status in TERMINAL:
            return status
    raise Refusal(f"it is still {status} after {limit_s:g} s, and goes on: saga watch {saga_id}", ExitCode.UNAVAILABLE)


class _Pauses:
    """Waits longer each time until something works again, and says once why."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next_s = AGAIN_S

    def reset(self) -> None:
        """Something works."""
        self._next_s = AGAIN_S

    def say(self, sentence: str) -> None:
        """Tell the person what is done instead."""
        self._session.output.say(f"saga: {sentence}")

    def rest(self, why: str) -> None:
        """Wait before it is tried again."""
        if self._next_s == AGAIN_S:
            self._session.output.say(f"saga: {why}; trying again")
        time.sleep(self._next_s)
        self._next_s = min(self._next_s * 2, AGAIN_MAX_S)


def _watched(session: Session, saga_id: str, limit_s: float | None) -> None:
    output = session.output
    status = follow(session.client, saga_id, lambda entry: _tell_entry(output, entry), _Pauses(session), limit_s)
    if output.for_people:
        output.console.print(Text.assemble(f"{saga_id} ", styled(status)))
    if status != "completed":
        raise typer.Exit(ExitCode.NO)


class _Stream:
    """The stream of a saga, taken up where it broke."""

    def __init__(self, client: Client, saga_id: str) -> None:
        self._client = client
        self._target = path("sagas", saga_id, "events")
        self._last_id: str | None = None

    def signals(self, silence_s: float) -> Iterator[None]:
        """One for each event, and one now and then while the stream only lives; raises Refusal."""
        look_at = time.monotonic() + LOOK_S
        for event in self._client.events(self._target, {}, self._last_id, silence_s):
            if event is not None:
                self._last_id = event.id or self._last_id
            elif time.monotonic() < look_at:
                continue
            look_at = time.monotonic() + LOOK_S
            yield


def _signals(client: Client, saga_id: str, pauses: _Pauses, until: float | None) -> Iterator[None]:
    """Say when to look, until that moment: at once, as the stream says, and every second where there is none."""
    stream = _Stream(client, saga_id)
    yield
    while (left_s := _left(until)) > 0:
        silence_s = min(SILENCE_S, left_s)
        try:
            for _ in stream.signals(silence_s):
                pauses.reset()
                yield
                if _left(until) < silence_s:  # the next silence may last less long
                    break
            else:
                time.sleep(AGAIN_S)
        except Refusal as refusal:
            if refusal.code is not ExitCode.UNAVAILABLE:
                pauses.say(f"{refusal}; without its stream it is looked at every second")
                break
            if _left(until) > 0:
                pauses.rest(str(refusal))
        yield
    while _left(until) > 0:
        time.sleep(POLL_S)
        yield


def _left(until: float | None) -> float:
    """Seconds up to a moment, or for ever."""
    return math.inf if until is None else until - time.monotonic()


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
