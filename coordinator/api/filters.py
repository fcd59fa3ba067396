"""Which sagas are meant: read from the query of a list, or from the filter of a bulk request, in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused, invalid
from coordinator.store.reads import ListFilter

NAMES: Final = ("status", "definition", "business_key", "since", "until")
REPEATABLE: Final = ("status",)


def read_filter(query: Query) -> ListFilter:
    """Read a filter; raises RequestRefused."""
    chosen = ListFilter(
        query.statuses("status"),
        query.definition("definition"),
        query.business_key("business_key"),
        query.moment_ms("since"),
        query.moment_ms("until"),
    )
    if chosen.since_ms is not None and chosen.until_ms is not None and chosen.until_ms <= chosen.since_ms:
        detail = "must be later than since"
        raise RequestRefused(422, "invalid-input", f"until: {detail}", [Fault(detail, parameter="until")])
    return chosen


def read_filter_of_body(members: Mapping[str, Any], pointer: str) -> ListFilter:
    """Read a filter from a JSON object; faults point into it. Raises RequestRefused."""
    pairs = [(name, text) for name, value in members.items() for text in _texts(value, f"{pointer}/{name}")]
    try:
        return read_filter(Query(pairs, NAMES, REPEATABLE))
    except RequestRefused as refused:
        faults = [Fault(fault.detail, f"{pointer}/{fault.parameter}") for fault in refused.errors]
        raise RequestRefused(422, "invalid-input", str(refused), faults) from None


def _texts(value: Any, pointer: str) -> list[str]:
    """A member as the texts that a query would have."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(
        isinstance(one, str) or (isinstance(one, int) and not isinstance(one, bool)) for one in values
    ):
        raise invalid(Fault("must be a text, a whole number, or a list of them", pointer))
    return [str(one) for one in values]
