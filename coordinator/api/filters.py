"""The filters of lists of sagas, read from a query and checked together: what is allowed is cheap, whatever comes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused, invalid
from coordinator.saga.model import TERMINAL, SagaStatus
from coordinator.store.reads import ListFilter

FILTERS: Final = (
    *("definition", "version", "status", "step", "participant"),
    *("business_key", "label", "incident", "since", "until"),
)
REPEATABLE: Final = ("status", "label")
VERSION_MAX: Final = 32_767
LABELS_MAX: Final = 3  # of a filter
LABEL_NAME: Final = r"[a-z][a-z0-9_.-]{0,62}"
LABEL_VALUE_MAX: Final = 200

_STEP = re.compile(r"[a-z][a-z0-9_]{0,62}|[A-Z][A-Za-z0-9]{0,62}", re.ASCII)
_PARTICIPANT = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_REASON = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_LABEL = re.compile(LABEL_NAME, re.ASCII)
_GOING = ", ".join(status for status in SagaStatus if status not in TERMINAL)


def read_filter(query: Query, definitions: frozenset[str] | None) -> ListFilter:
    """The filter that a query gives, of the definitions that may be known of; raises RequestRefused (422)."""
    chosen = ListFilter(
        query.statuses("status"),
        query.definition("definition"),
        query.business_key("business_key"),
        query.moment_ms("since"),
        query.moment_ms("until"),
        query.number_or_none("version", lowest=1, highest=VERSION_MAX),
        query.word("step", _STEP, "is no step's name: lower-case letters, digits and underscores"),
        query.word("participant", _PARTICIPANT, "is no participant's name: lower-case letters, digits and hyphens"),
        _labels(query),
        query.word("incident", _REASON, "is no incident's reason: lower-case letters, digits and underscores"),
        definitions,
    )
    check_filter(chosen)
    return chosen


def read_filter_of_body(members: Mapping[str, Any], pointer: str, definitions: frozenset[str] | None) -> ListFilter:
    """The filter that a JSON object gives in the same words; faults point into it. Raises RequestRefused (422)."""
    pairs = [(name, text) for name, value in members.items() for text in _texts(value, f"{pointer}/{name}")]
    try:
        return read_filter(Query(pairs, FILTERS, REPEATABLE), definitions)
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


def check_filter(chosen: ListFilter) -> None:
    """Check what filters mean together; raises RequestRefused (422) with a sentence for each that is refused."""
    faults = list(_faults(chosen))
    if faults:
        raise RequestRefused(422, "invalid-input", f"{faults[0].parameter}: {faults[0].detail}", faults)


def _faults(chosen: ListFilter) -> Iterator[Fault]:
    if chosen.since_ms is not None and chosen.until_ms is not None and chosen.until_ms <= chosen.since_ms:
        yield Fault("must be later than since", parameter="until")
    if chosen.version is not None and chosen.definition is None:
        yield Fault("the version filter requires a definition", parameter="version")
    for name, value in (("step", chosen.step), ("participant", chosen.participant)):
        if value is not None and (chosen.statuses is None or not TERMINAL.isdisjoint(chosen.statuses)):
            sentence = f"the {name} filter requires a status that is not terminal: one or more of {_GOING}, no others"
            yield Fault(sentence, parameter=name)
    if len(chosen.labels) > LABELS_MAX:
        yield Fault(f"a list is filtered by at most {LABELS_MAX} labels", parameter="label")


def _labels(query: Query) -> tuple[tuple[str, str], ...]:
    """Labels as name:value, each once, sorted."""
    labels: set[tuple[str, str]] = set()
    for text in query.all("label"):
        name, colon, value = text.partition(":")
        if not colon or not _LABEL.fullmatch(name) or not is_label_value(value):
            raise invalid(Fault("is no label: write name:value, as the saga was started with", parameter="label"))
        labels.add((name, value))
    return tuple(sorted(labels))


def is_label_value(text: str) -> bool:
    """Whether a label can have this value."""
    return 1 <= len(text) <= LABEL_VALUE_MAX and text.isprintable()
