"""The routes that look at sagas: one of them from every side, lists of them, and how many there are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, principal_of
from coordinator.api.cursors import Cursors
from coordinator.api.documents import looking as documents
from coordinator.api.documents.looking import Count, CountList
from coordinator.api.filters import FILTERS, REPEATABLE, read_filter
from coordinator.api.masking import Known, masked_for
from coordinator.api.parameters import Query
from coordinator.api.routes import Routes
from coordinator.choreography.choreographies import OBSERVED_PART, Choreographies
from coordinator.choreography.views import describe_observed, observed_timeline
from coordinator.engine.registry import Registry
from coordinator.errors import NotFound
from coordinator.saga.masking import Masks
from coordinator.saga.model import load_state
from coordinator.services.commands import commands_of
from coordinator.services.history import ENTRIES_MAX, History, relive
from coordinator.services.timeline import timeline_of
from coordinator.services.views import SagaDetail, describe, mask, mask_entries
from coordinator.store.reads import ListFilter, SagaReads, SagaRecord, SagaSummary

LIST_MAX: Final = 200
LIST_DEFAULT: Final = 50
LOG_MAX: Final = 1_000
_KIND: Final = "sagas"  # of cursor

_ENCODER = msgspec.json.Encoder()


def add_looking_routes(
    routes: Routes, reads: SagaReads, registry: Registry, choreographies: Choreographies, cursors: Cursors
) -> None:
    """Add the routes; questions go straight to the reads."""
    looking = _Looking(reads, registry, choreographies, cursors)
    one = "/v1/sagas/{saga_id}"
    routes.get("/v1/sagas", documents.LIST, Permission.LOOK, looking.listed)
    routes.get("/v1/sagas/counts", documents.COUNTS, Permission.LOOK, looking.counts)
    routes.get(one, documents.GET, Permission.LOOK, looking.get)
    routes.get(f"{one}/log", documents.LOG, Permission.LOOK, looking.log)
    routes.get(f"{one}/commands", documents.COMMANDS, Permission.LOOK, looking.commands)
    routes.get(f"{one}/timeline", documents.TIMELINE, Permission.LOOK, looking.timeline)


class _Looking:
    def __init__(self, reads: SagaReads, registry: Registry, choreographies: Choreographies, cursors: Cursors) -> None:
        self._reads = reads
        self._registry = registry
        self._choreographies = choreographies
        self._known = Known(registry, choreographies)
        self._cursors = cursors

    async def listed(self, request: Request) -> Response:
        """Sagas that fit the filters, newest first, page by page."""
        query = Query(request, (*FILTERS, "limit", "cursor", "fields"), repeatable=REPEATABLE)
        limit = query.number("limit", default=LIST_DEFAULT, lowest=1, highest=LIST_MAX)
        fields = query.fields(documents.LISTED)
        chosen = read_filter(query, principal_of(request).definitions)
        cursor = query.text("cursor")
        found = await self._reads.page(chosen, None if cursor is None else self._place(chosen, cursor), limit)
        following = None if found.behind is None else self._cursors.write(_KIND, chosen, UUID(found.behind).bytes)
        return _json({"sagas": await self._members(found.sagas, fields), "next_cursor": following})

    def _place(self, chosen: ListFilter, cursor: str) -> str:
        return str(UUID(bytes=self._cursors.read(_KIND, chosen, cursor)))

    async def _members(self, sagas: list[SagaSummary], fields: Collection[str] | None) -> list[Any]:
        """Sagas with only the members that are wanted."""
        if fields is None:
            return list(sagas)
        labels = await self._reads.labels([saga.id for saga in sagas]) if "labels" in fields and sagas else {}
        own = [name for name in SagaSummary.__struct_fields__ if name == "id" or name in fields]
        shown = [{name: getattr(saga, name) for name in own} for saga in sagas]
        if "labels" in fields:
            for each in shown:
                each["labels"] = labels.get(each["id"], {})
        return shown

    async def counts(self, request: Request) -> Response:
        """How many sagas there are, by definition and status."""
        name = Query(request, ("definition",)).definition("definition")
        known = principal_of(request).definitions
        rows = await self._reads.fetch("count_sagas", name, None if known is None else sorted(known))
        sums: dict[tuple[str, str], int] = {}
        for row in rows:
            pair = row["name"], row["status"]
            sums[pair] = sums.get(pair, 0) + row["sagas"]
        counts = [Count(*pair, sagas) for pair, sagas in sorted(sums.items())]
        return _json(CountList(counts, sum(sums.values())))

    async def get(self, request: Request) -> Response:
        """One saga with its steps and incidents; `?include=log` adds the beginning of its log."""
        query = Query(request, ("include", "fields"))
        fields = query.fields(SagaDetail.__struct_fields__)
        with_log = "log" in query.words("include", ("log",)) or (fields is not None and "log" in fields)
        record = await self._record(request, LOG_MAX if with_log else 0)
        observed = record.part == OBSERVED_PART
        saga = describe_observed(record, self._choreographies) if observed else describe(record, self._registry)
        masks = self._masks(request, record)
        if masks is not None:
            saga = mask(saga, masks)
        headers = {"etag": f'"{saga.version}"'}
        if fields is None:
            return _json(saga, headers)
        return _json({name: getattr(saga, name) for name in saga.__struct_fields__ if name in {"id", *fields}}, headers)

    async def log(self, request: Request) -> Response:
        """A saga's log, oldest first."""
        saga_id = parameters.saga_id(request)
        query = Query(request, ("after", "limit"))
        after = query.number("after", default=0, lowest=0, highest=999_999_999)
        limit = query.number("limit", default=LOG_MAX, lowest=1, highest=LOG_MAX)
        record = await self._record(request)
        entries = await self._reads.log(saga_id, after, limit)
        masks = self._masks(request, record)
        if masks is not None:
            entries = mask_entries(entries, masks)
        following = entries[-1].version if len(entries) == limit else None
        return _json({"entries": entries, "next_after": following})

    async def commands(self, request: Request) -> Response:
        """The commands that a saga has issued, and what came of each."""
        Query(request)
        record = await self._record(request, ENTRIES_MAX)
        definition = self._registry.of_id(record.definition_id)
        if record.part == OBSERVED_PART or definition is None:  # nobody is commanded, or nobody knows how
            return _json({"commands": [], "complete": record.part == OBSERVED_PART})
        rows = await self._reads.fetch("unsent_of_saga", record.summary.id)
        history = self._history(record)
        unsent = {(row["saga_version"], row["position"]) for row in rows}
        return _json({"commands": commands_of(history, definition, unsent), "complete": history.complete})

    async def timeline(self, request: Request) -> Response:
        """What was under way from when to when."""
        Query(request)
        record = await self._record(request, ENTRIES_MAX)
        if record.part == OBSERVED_PART:
            intervals, complete = observed_timeline(record, self._choreographies)
            return _json({"intervals": intervals, "complete": complete})
        definition = self._registry.of_id(record.definition_id)
        if definition is None:
            return _json({"intervals": [], "complete": False})
        history = self._history(record)
        return _json({"intervals": timeline_of(history, definition), "complete": history.complete})

    def _history(self, record: SagaRecord) -> History:
        definition = self._registry.of_id(record.definition_id)
        if definition is None:
            return History([], complete=False)
        return relive(definition, record.summary.id, record.input, record.log or [], load_state(record.state).steps)

    def _masks(self, request: Request, record: SagaRecord) -> Masks | None:
        """What of a saga whoever asks may not see; None for nothing."""
        return masked_for(principal_of(request), self._known.of(record), record.input)

    async def _record(self, request: Request, log_limit: int = 0) -> SagaRecord:
        """A saga that may be known of; raises NotFound."""
        record = await self._reads.saga(parameters.saga_id(request), log_limit)
        if record is None or not principal_of(request).knows(record.summary.definition):
            raise NotFound("there is no saga with this id")
        return record


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(_ENCODER.encode(value), 200, headers, "application/json")
