"""The routes under /v1/dead-letters.

Of many letters nobody can tell whose saga they are about: they are shown to nobody who is bound to some definitions.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, demand, principal_of
from coordinator.api.acts import read_reason
from coordinator.api.bodies import Limits, fit, read_object
from coordinator.api.cursors import Cursors
from coordinator.api.documents import letters as documents
from coordinator.api.documents.letters import DeadLetterPage, DiscardBody, RedriveBody
from coordinator.api.keeping import asked_since_ms
from coordinator.api.masking import Known, masked_for
from coordinator.api.middleware import request_id_of
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused, invalid
from coordinator.api.routes import Routes
from coordinator.api.scoping import unbound
from coordinator.errors import NotFound
from coordinator.services.letter_views import about_letter, describe_letter
from coordinator.services.letters import KINDS, PAGE_MAX, STATES, LetterService, Seen
from coordinator.store.letters import LetterFilter, LetterSummary
from coordinator.store.reads import SagaReads

PAGE_DEFAULT = 50
_BODY_BYTES_MAX = 4 * 1024 * 1024  # a value of 256 KiB whose every byte is escaped, and headers
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_ETAG = re.compile(rf'"([0-9]{{1,9}})-({"|".join(STATES)})"', re.ASCII)
_HEADER = re.compile(r"[!-~]{1,200}", re.ASCII)
_REASON_LENGTH_MAX = 100


def add_letter_routes(
    routes: Routes, letters: LetterService, reads: SagaReads, known: Known, cursors: Cursors, limits: Limits
) -> None:
    """Add the routes."""
    made = _LetterRoutes(letters, reads, known, cursors, limits)
    one = "/v1/dead-letters/{letter_id}"
    routes.get("/v1/dead-letters", documents.LIST, Permission.INSPECT, unbound(made.list))
    routes.get(one, documents.GET, Permission.INSPECT, unbound(made.get))
    routes.post(f"{one}/redrive", documents.REDRIVE, Permission.ACT, unbound(made.redrive))
    routes.post(f"{one}/discard", documents.DISCARD, Permission.ACT, unbound(made.discard))


class _LetterRoutes:
    def __init__(
        self, letters: LetterService, reads: SagaReads, known: Known, cursors: Cursors, limits: Limits
    ) -> None:
        self._letters = letters
        self._reads = reads
        self._known = known
        self._cursors = cursors
        self._limits = limits

    async def list(self, request: Request) -> Response:
        """Letters that fit the filters, newest first, page by page."""
        query = Query(request, ("state", "kind", "reason", "saga_id", "limit", "cursor"))
        limit = query.number("limit", default=PAGE_DEFAULT, lowest=1, highest=PAGE_MAX)
        chosen = LetterFilter(
            query.choice("state", STATES),
            query.choice("kind", KINDS),
            query.printable("reason", _REASON_LENGTH_MAX),
            query.saga_id("saga_id"),
        )
        cursor = query.text("cursor")
        before = None if cursor is None else int.from_bytes(self._cursors.read("dead-letters", chosen, cursor))
        found = await self._letters.list(chosen, before, limit)
        more = len(found) == limit and await self._letters.list(chosen, found[-1].id, 1)
        following = self._cursors.write("dead-letters", chosen, found[-1].id.to_bytes(8)) if more else None
        return _json(DeadLetterPage([*await self._masked(request, found)], following))

    async def _masked(self, request: Request, found: Sequence[LetterSummary]) -> Sequence[LetterSummary]:
        """Letters whose details hold nothing that whoever asks may not see."""
        saga_ids = [letter.saga_id for letter in found if letter.saga_id is not None]
        masks = await self._known.masks_of(principal_of(request), self._reads, saga_ids)
        if masks is None:
            return found
        return [
            letter
            if letter.saga_id is None
            else msgspec.structs.replace(letter, detail=masks[letter.saga_id].text(letter.detail))
            for letter in found
        ]

    async def get(self, request: Request) -> Response:
        """One letter with everything that is kept of it."""
        Query(request)
        letter = await self._letters.get(_letter_id(request))
        about = about_letter(letter)
        record = await self._reads.saga(about.saga_id) if about.saga_id else None
        if record is None:
            masks = masked_for(principal_of(request), self._known.named(about.definition))
        else:
            masks = masked_for(principal_of(request), self._known.of(record), record.input)
        shown = describe_letter(letter, None if record is None else record.summary, masks)
        return _json(shown, headers=_etag(letter.summary))

    async def redrive(self, request: Request) -> Response:
        """Send an open record again, as it came or edited."""
        Query(request)
        parameters.check_idempotency_key(request)
        letter_id, seen = _letter_id(request), _seen(request)
        body = fit(RedriveBody, await read_object(request, _BODY_BYTES_MAX, self._limits.body_timeout_seconds))
        value, headers = _value(body), _headers(body)
        if value is not None or headers or body.new_identity:
            demand(request, Permission.DECIDE)
        letter = await self._letters.redrive(
            letter_id,
            principal_of(request).actor,
            read_reason(body.reason),
            value,
            headers,
            new_identity=body.new_identity,
            seen=seen,
            request_id=request_id_of(request.scope),
            since_ms=asked_since_ms(request),
        )
        return _json(letter, 202, _etag(letter))

    async def discard(self, request: Request) -> Response:
        """Close an open record for good."""
        Query(request)
        parameters.check_idempotency_key(request)
        letter_id, seen = _letter_id(request), _seen(request)
        limits = self._limits
        body = fit(DiscardBody, await read_object(request, limits.body_bytes_max, limits.body_timeout_seconds))
        actor, request_id = principal_of(request).actor, request_id_of(request.scope)
        reason, since_ms = read_reason(body.reason), asked_since_ms(request)
        letter = await self._letters.discard(
            letter_id, actor, reason, seen=seen, request_id=request_id, since_ms=since_ms
        )
        return _json(letter, headers=_etag(letter))


def _letter_id(request: Request) -> int:
    text: str = request.path_params["letter_id"]
    if not _ID.fullmatch(text):
        raise NotFound("there is no dead letter with this id")
    return int(text)


def _seen(request: Request) -> Seen | None:
    """How the letter stood when it was looked at, if If-Match says."""
    values = request.headers.getlist("if-match")
    if not values:
        return None
    match = _ETAG.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        detail = 'must be one ETag of a dead letter, such as "0-open"'
        raise RequestRefused(422, "invalid-input", f"If-Match {detail}", [Fault(detail, header="If-Match")])
    return Seen(int(match[1]), match[2])


def _etag(letter: LetterSummary) -> dict[str, str]:
    return {"etag": f'"{letter.tries}-{letter.state}"'}


def _value(body: RedriveBody) -> bytes | None:
    if body.value is not None and body.value_base64 is not None:
        raise invalid(Fault("give the value once: as text, or in base64", "/value_base64"))
    if body.value_base64 is None:
        return None if body.value is None else body.value.encode()
    try:
        return base64.b64decode(body.value_base64.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise invalid(Fault("this is no base64", "/value_base64")) from None


def _headers(body: RedriveBody) -> dict[str, bytes | None] | None:
    if body.headers is None:
        return None
    for name, text in body.headers.items():
        if not _HEADER.fullmatch(name):
            raise invalid(Fault("a header's name is 1 to 200 printable ASCII characters without blanks", "/headers"))
        if text is not None and len(text.encode()) > documents.HEADER_BYTES_MAX:
            raise invalid(Fault(f"a header has at most {documents.HEADER_BYTES_MAX} bytes", f"/headers/{name}"))
    return {name: None if text is None else text.encode() for name, text in body.headers.items()}


def _json(value: msgspec.Struct, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
