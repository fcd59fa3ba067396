"""Which statement reads a page of a list, whatever its filters: each walks an index from a place, and not far.

A walk that meets many sagas that do not fit ends early, and so does its page: it may be short, even empty, and still
not be the last. That keeps every page cheap, however many sagas there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordinator.saga.model import SagaStatus

if TYPE_CHECKING:
    from coordinator.store.reads import ListFilter

ID_TIME_MARGIN_MS = 5_000  # an id's own time and the row's created_at differ by less than this
FOREVER_MS = 2**47
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
IN_PROGRESS_MAX = 5_000  # sagas in progress that one page looks at; they lie together
CANDIDATES_MAX = 1_000  # sagas of a label or an incident that one page looks at; they lie apart


def list_query(chosen: ListFilter, before: str | None, limit: int) -> tuple[str, tuple[Any, ...]]:
    """The statement, by its name in queries/, that reads a page of a list, and its arguments."""
    since_ms = chosen.since_ms or 0
    until_ms = FOREVER_MS if chosen.until_ms is None else chosen.until_ms
    before_id = min(before or LAST_ID, _first_id(until_ms + ID_TIME_MARGIN_MS))
    bounds = (before_id, _first_id(since_ms - ID_TIME_MARGIN_MS), since_ms, until_ms, limit)
    names = None if chosen.definitions is None else sorted(chosen.definitions)
    whose = (chosen.definition, chosen.version, names, chosen.step, chosen.participant)
    labels = ([name for name, _ in chosen.labels], [value for _, value in chosen.labels])
    common = (*bounds, chosen.statuses, *whose)
    if chosen.business_key is not None:
        return "list_sagas_of_key", (*common, chosen.business_key, *labels, chosen.incident)
    if chosen.labels:
        return "list_sagas_of_label", (*common, CANDIDATES_MAX, *labels, chosen.incident)
    if chosen.incident is not None:
        return "list_sagas_of_incident", (*common, CANDIDATES_MAX, chosen.incident)
    if chosen.statuses is None and whose == (None,) * len(whose):
        return "list_sagas", bounds
    statuses = tuple(SagaStatus) if chosen.statuses is None else chosen.statuses
    return "list_sagas_by_status", (*bounds, statuses, *whose, IN_PROGRESS_MAX)


def _first_id(moment_ms: int) -> str:
    """The smallest version 7 UUID of a millisecond."""
    text = f"{min(max(moment_ms, 0), 2**48 - 1):012x}"
    return f"{text[:8]}-{text[8:]}-0000-0000-000000000000"
