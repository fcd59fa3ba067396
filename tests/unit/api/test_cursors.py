"""A cursor comes back as it was made, and anything else is refused."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.api.cursors import Cursors
from coordinator.api.problems import RequestRefused
from coordinator.store.reads import ListFilter

CURSORS = Cursors(b"a secret that nobody else has, 32 bytes or more")
KIND = "sagas"
FILTERS = st.builds(
    ListFilter,
    statuses=st.none()
    | st.lists(st.sampled_from(["failed", "completed"]), unique=True).map(lambda words: tuple(sorted(words))),
    definition=st.none() | st.sampled_from(["A", "B"]),
    business_key=st.none() | st.text(min_size=1, max_size=5).filter(str.isprintable),
    since_ms=st.none() | st.integers(0, 2**45),
    until_ms=st.none() | st.integers(0, 2**45),
    labels=st.sampled_from([(), (("tenant", "acme"),)]),
    definitions=st.none() | st.frozensets(st.sampled_from(["A", "B", "C"])),
)


@given(chosen=FILTERS, place=st.binary(max_size=200))
def test_a_cursor_comes_back_as_it_was_made(chosen: ListFilter, place: bytes) -> None:
    """What was written for a list is read for the same list, also by another process with the same secret."""
    cursor = CURSORS.write(KIND, chosen, place)
    assert Cursors(CURSORS._secret).read(KIND, chosen, cursor) == place


@given(chosen=FILTERS, other=FILTERS, last=st.uuids())
def test_a_cursor_is_of_one_list(chosen: ListFilter, other: ListFilter, last: UUID) -> None:
    """A cursor is refused for any other filter, which is also one of somebody who may know of less."""
    if chosen == other:
        return
    with pytest.raises(RequestRefused) as refused:
        CURSORS.read(KIND, other, CURSORS.write(KIND, chosen, last.bytes))
    assert refused.value.status_code == 400


@given(last=st.uuids())
def test_a_cursor_is_of_one_kind_and_one_installation(last: UUID) -> None:
    """A cursor of incidents is none of sagas, and one that was sealed with another secret is none at all."""
    for cursor in (
        CURSORS.write("incidents", ListFilter(), last.bytes),
        Cursors(b"another secret, of another installation").write(KIND, ListFilter(), last.bytes),
    ):
        with pytest.raises(RequestRefused):
            CURSORS.read(KIND, ListFilter(), cursor)


@given(last=st.uuids(), position=st.integers(0, 43), letter=st.characters())
def test_a_changed_cursor_is_refused(last: UUID, position: int, letter: str) -> None:
    """One other character anywhere makes a cursor useless, and so does one that is missing."""
    cursor = CURSORS.write(KIND, ListFilter(), last.bytes)
    changed = cursor[:position] + letter + cursor[position + 1 :]
    for wrong in {changed, cursor[:position]} - {cursor}:
        with pytest.raises(RequestRefused):
            CURSORS.read(KIND, ListFilter(), wrong)


@given(text=st.text(max_size=100))
def test_noise_is_no_cursor(text: str) -> None:
    """Whatever somebody sends, the answer is a refusal, never another error."""
    with pytest.raises(RequestRefused):
        CURSORS.read(KIND, ListFilter(), text)


def test_a_cursor_of_ten_kilobytes_is_refused() -> None:
    """A cursor far longer than any of ours is not even decoded."""
    with pytest.raises(RequestRefused):
        CURSORS.read(KIND, ListFilter(), "A" * 10_240)
