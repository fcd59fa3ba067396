"""The route /v1/audit: what was done, by whom and why, and what was refused."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.access import Permission
from coordinator.api.cursors import Cursors
from coordinator.api.documents import audit as documents
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused
from coordinator.api.routes import Routes
from coordinator.store.audit import LAST_ACT, AuditFilter, AuditReads

LIST_MAX = 200
LIST_DEFAULT = 50
WHO_MAX = 200
SUBJECT_MAX = 300
LETTER_MAX = 999_999_999
_KIND = "audit"


def add_audit_route(routes: Routes, reads: AuditReads, cursors: Cursors) -> None:
    """Add the route."""

    async def listed(request: Request) -> Response:
        """Entries that fit the filters, newest first, page by page."""
        query = Query(request, documents.PARAMETERS)
        limit = query.number("limit", default=LIST_DEFAULT, lowest=1, highest=LIST_MAX)
        chosen = _chosen(query)
        cursor = query.text("cursor")
        before = None if cursor is None else _id(cursors.read(_KIND, chosen, cursor))
        acts = await reads.page(chosen, before, limit + 1)
        page = acts[:limit]
        following = cursors.write(_KIND, chosen, page[-1].id.to_bytes(8, "big")) if len(acts) > limit else None
        return Response(msgspec.json.encode(documents.AuditPage(page, following)), media_type="application/json")

    routes.get("/v1/audit", documents.LIST, Permission.ADMINISTER, listed)


def _id(place: bytes) -> int:
    return min(int.from_bytes(place, "big"), LAST_ACT)


def _chosen(query: Query) -> AuditFilter:
    chosen = AuditFilter(
        query.printable("actor", WHO_MAX),
        query.printable("action", WHO_MAX),
        query.saga_id("saga_id"),
        query.number("letter_id", default=0, lowest=1, highest=LETTER_MAX) or None,
        query.printable("subject", SUBJECT_MAX),
        query.choice("outcome", documents.OUTCOMES),
        query.moment_ms("since"),
        query.moment_ms("until"),
    )
    if chosen.since_ms is not None and chosen.until_ms is not None and chosen.until_ms <= chosen.since_ms:
        detail = "must be later than since"
        raise RequestRefused(422, "invalid-input", f"until {detail}", [Fault(detail, parameter="until")])
    return chosen
