"""The routes that stream what happens: of one saga, and of all that fit a filter (docs/adr/0027-streams.md).

The stream of one saga is read from that saga's log, version by version; what the tail says is only when to look. The
stream of a filter is the log itself, in the order in which it became complete. Both go on behind Last-Event-ID.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from typing import Final, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, principal_of
from coordinator.api.documents import streams as documents
from coordinator.api.documents.streams import Transition
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused
from coordinator.api.routes import Routes
from coordinator.api.streaming import EventStream
from coordinator.errors import NotFound, Unavailable
from coordinator.saga.model import TERMINAL
from coordinator.services.tail import Chunk, Subscription, Tail, Wanted
from coordinator.store.reads import LogEntry, SagaReads, SagaSummary
from coordinator.store.tailing import Entry, Place
from coordinator.wire.rfc3339 import format_ms

LOG_PAGE: Final = 500
AGAIN_S: Final = 1.0  # until a log that could not be read is looked at again
ASK_AGAIN_S: Final = 5.0  # whether the client may still listen

_PLACE = re.compile(r"([0-9]{10,17})\.([0-9]{1,9})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)
_VERSION = re.compile(r"[0-9]{1,9}", re.ASCII)
_ENCODER = msgspec.json.Encoder()
_RETRY: Final = b"retry: 2000\n\n"
_ALIVE: Final = b": alive\n\n"
_OVERRUN: Final = b'event: overrun\ndata: {"reason":"events came faster than they were taken"}\n\n'


class StreamLimits(Protocol):
    """How long streams last, and how far back they reach."""

    @property
    def heartbeat_seconds(self) -> float: ...  # noqa: D102
    @property
    def look_back_seconds(self) -> float: ...  # noqa: D102
    @property
    def life_seconds(self) -> float: ...  # noqa: D102


def add_stream_routes(routes: Routes, tail: Tail, reads: SagaReads, limits: StreamLimits) -> None:
    """Add the routes."""
    streams = _StreamRoutes(routes, tail, reads, limits)
    routes.get("/v1/sagas/{saga_id}/events", documents.SAGA_EVENTS, Permission.LOOK, streams.of_saga)
    routes.get("/v1/events", documents.EVENTS, Permission.LOOK, streams.of_all)


def written(entry: Entry) -> bytes:
    """Write an entry as it goes to everybody who follows a filter."""
    place = entry.place
    data = Transition(
        *(place.saga_id, entry.definition, place.version, entry.status, None, entry.step_name, entry.event, entry.at)
    )
    return _event("transition", _ENCODER.encode(data), f"{place.at_us}.{place.version}.{place.saga_id}")


class _StreamRoutes:
    def __init__(self, routes: Routes, tail: Tail, reads: SagaReads, limits: StreamLimits) -> None:
        self._routes = routes
        self._tail = tail
        self._reads = reads
        self._limits = limits

    async def of_saga(self, request: Request) -> Response:
        """Follow one saga, from its beginning or from behind Last-Event-ID, until it has ended."""
        saga_id = parameters.saga_id(request)
        Query(request)
        after = _last_version(request)
        saga = (await self._reads.summaries([saga_id])).get(saga_id)
        if saga is None or not principal_of(request).knows(saga.definition):
            raise NotFound("there is no saga with this id")
        if after is not None and saga.status in TERMINAL and saga.version <= after:
            return Response(status_code=204)
        listening = await self._tail.subscribe(Wanted(saga_id), principal_of(request).actor)
        feed = _Feed(self._routes, self._limits, request, listening)
        return EventStream(feed.of_saga(self._reads, saga, after or 0), listening, self._tail.leave)

    async def of_all(self, request: Request) -> Response:
        """Follow what fits a filter, from now on or from behind Last-Event-ID."""
        query = Query(request, ("definition", "status"), repeatable=("status",))
        principal = principal_of(request)
        statuses, definition = query.statuses("status"), query.definition("definition")
        definitions = principal.definitions
        if definition is not None:
            definitions = frozenset({definition} if principal.knows(definition) else ())
        wanted = Wanted(None, definitions, None if statuses is None else frozenset(statuses))
        after = _last_place(request)
        listening = await self._tail.subscribe(wanted, principal.actor)
        feed = _Feed(self._routes, self._limits, request, listening)
        return EventStream(feed.of_filter(self._tail, after), listening, self._tail.leave)


class _Feed:
    """What one client gets, piece by piece."""

    def __init__(self, routes: Routes, limits: StreamLimits, request: Request, listening: Subscription) -> None:
        self._routes = routes
        self._limits = limits
        self._request = request
        self._listening = listening
        self._until = time.monotonic() + limits.life_seconds
        self._ask_again_at = time.monotonic() + ASK_AGAIN_S

    async def of_saga(self, reads: SagaReads, saga: SagaSummary, after: int) -> AsyncGenerator[bytes, None]:
        """A saga's log behind a version, as it grows."""
        yield _RETRY
        last = LogEntry(0, "", "", None, "", msgspec.Raw()) if after == 0 else await _entry(reads, saga.id, after)
        version, patience_s = after, self._limits.heartbeat_seconds
        while await self._goes_on():
            try:
                entries = await reads.log(saga.id, version, LOG_PAGE)
                patience_s = self._limits.heartbeat_seconds
            except Unavailable:
                entries, patience_s = [], AGAIN_S
            for entry in entries:
                yield _logged(saga, entry, last)
                last, version = entry, entry.version
            if last is not None and last.status in TERMINAL and len(entries) < LOG_PAGE:
                yield _event("end", _ENCODER.encode({"reason": f"the saga is {last.status}"}))
                return
            if len(entries) < LOG_PAGE and await self._listening.next(self._patience(patience_s)) is None:
                yield _ALIVE
        yield self._last_word()

    async def of_filter(self, tail: Tail, after: Place | None) -> AsyncGenerator[bytes, None]:
        """The log behind a place, or from now on."""
        yield _RETRY
        start = self._listening.start
        last = start if after is None else after
        if last < start:
            first = Place(start.at_us - int(self._limits.look_back_seconds * 1_000_000))
            if last < first:
                yield _gap(last, first)
                last = first
            try:
                async for chunk in tail.history(self._listening.wanted, last, start):
                    if not await self._goes_on():
                        yield self._last_word()
                        return
                    yield chunk.data
            except Unavailable:
                return  # the client comes again, with the last id that it has got
            last = start
        while await self._goes_on():
            found = await self._listening.next(self._patience(self._limits.heartbeat_seconds))
            if found is None:
                yield _ALIVE
            elif found.passed_over is not None:
                yield _gap(*found.passed_over)
            elif data := _behind(found, last):
                yield data
        yield self._last_word()

    async def _goes_on(self) -> bool:
        """Whether the client may go on listening; whoever may not any more is cut off within seconds."""
        if self._listening.closed or time.monotonic() >= self._until:
            return False
        if time.monotonic() >= self._ask_again_at:
            self._ask_again_at = time.monotonic() + ASK_AGAIN_S
            try:
                await self._routes.ask_again(self._request, Permission.LOOK)
            except RequestRefused as refused:
                return refused.status_code == 429
            except Unavailable:
                return True
        return True

    def _patience(self, wanted_s: float) -> float:
        now = time.monotonic()
        return max(0.0, min(wanted_s, self._until - now, self._ask_again_at - now))

    def _last_word(self) -> bytes:
        if self._listening.overrun:
            return _OVERRUN
        return _event("end", b'{"reason":"connect again"}')


def _behind(chunk: Chunk, last: Place) -> bytes:
    """Those events of a chunk that the client has not got already from another process that was further on."""
    if chunk.entries[0].place > last:
        return chunk.data
    pairs = zip(chunk.entries, chunk.written, strict=True)
    return b"".join(data for entry, data in pairs if entry.place > last)


async def _entry(reads: SagaReads, saga_id: str, version: int) -> LogEntry | None:
    """One entry of a saga's log, where it can be had."""
    try:
        found = await reads.log(saga_id, version - 1, 1)
    except Unavailable:
        return None
    return found[0] if found and found[0].version == version else None


def _logged(saga: SagaSummary, entry: LogEntry, before: LogEntry | None) -> bytes:
    old = None if before is None or not before.version else before.status
    data = Transition(
        saga.id, saga.definition, entry.version, entry.status, old, entry.step_name, entry.event, entry.at
    )
    return _event("transition", _ENCODER.encode(data), str(entry.version))


def _gap(after: Place, before: Place) -> bytes:
    data = {"from": format_ms(after.at_us // 1000), "to": format_ms(before.at_us // 1000)}
    return _event("gap", _ENCODER.encode(data))


def _event(name: str, data: bytes, identity: str | None = None) -> bytes:
    head = b"" if identity is None else b"id: %b\n" % identity.encode()
    return b"%bevent: %b\ndata: %b\n\n" % (head, name.encode(), data)


def _last_version(request: Request) -> int | None:
    text = _last_event_id(request)
    if text is None:
        return None
    if not _VERSION.fullmatch(text):
        raise _strange()
    return int(text)


def _last_place(request: Request) -> Place | None:
    text = _last_event_id(request)
    if text is None:
        return None
    match = _PLACE.fullmatch(text)
    if match is None:
        raise _strange()
    place = Place(int(match[1]), match[3], int(match[2]))
    if not parameters.EARLIEST_MS <= place.at_us // 1000 <= time.time() * 1000 + 60_000:
        raise _strange()
    return place


def _last_event_id(request: Request) -> str | None:
    values = request.headers.getlist("last-event-id")
    if len(values) > 1:
        raise _strange()
    return values[0] if values and values[0] else None


def _strange() -> RequestRefused:
    detail = "must be the id of an event of this stream"
    return RequestRefused(422, "invalid-input", f"Last-Event-ID {detail}", [Fault(detail, header="Last-Event-ID")])
