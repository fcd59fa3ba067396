"""A cursor comes back as it was made, and anything else is refused."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.api import cursors
from coordinator.api.problems import RequestRefused
from coordinator.store.reads import ListFilter

FILTERS = st.builds(
    ListFilter,
    statuses=st.none()
    | st.lists(st.sampled_from(["failed", "completed"]), unique=True).map(lambda words: tuple(sorted(words))),
    definition=st.none() | st.sampled_from(["A", "B"]),
    business_key=st.none() | st.text(min_size=1, max_size=5).filter(str.isprintable),
    since_ms=st.none() | st.integers(0, 2**45),
    until_ms=st.none() | st.integers(0, 2**45),
)


@given(chosen=FILTERS, last=st.uuids())
def test_a_cursor_comes_back_as_it_was_made(chosen: ListFilter, last: UUID) -> None:
    """What was written for a list is read for the same list."""
    assert cursors.read(chosen, cursors.write(chosen, str(last))) == str(last)


@given(chosen=FILTERS, other=FILTERS, last=st.uuids())
def test_a_cursor_is_of_one_list(chosen: ListFilter, other: ListFilter, last: UUID) -> None:
    """A cursor is refused for any other filter."""
    if chosen == other:
        return
    with pytest.raises(RequestRefused) as refused:
        cursors.read(other, cursors.write(chosen, str(last)))
    assert refused.value.status_code == 400


@given(last=st.uuids(), position=st.integers(0, 33), letter=st.characters())
def test_a_changed_cursor_is_refused(last: UUID, position: int, letter: str) -> None:
    """One other character anywhere makes a cursor useless."""
    cursor = cursors.write(ListFilter(), str(last))
    changed = cursor[:position] + letter + cursor[position + 1 :]
    if changed == cursor:
        return
    with pytest.raises(RequestRefused):
        cursors.read(ListFilter(), changed)


@given(text=st.text(max_size=100))
def test_noise_is_no_cursor(text: str) -> None:
    """Whatever somebody sends, the answer is a refusal, never another error."""
    with pytest.raises(RequestRefused):
        cursors.read(ListFilter(), text)
