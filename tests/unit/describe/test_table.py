"""A definition's table holds all that the definition says, within the width of a terminal."""

from __future__ import annotations

import pytest

from coordinator.describe.document import document
from coordinator.describe.table import WIDTH, table
from coordinator.describe.words import duration
from coordinator.saga.definition import Retry, SagaDefinition, Step, hours, minutes, seconds
from sagas import definitions
from tests.unit.describe.holiday import Parcel, holiday, parcels

LONG = SagaDefinition(
    "L" * 63,
    version=1,
    input=Parcel,
    business_key="parcel_id",
    recovery=Retry(attempts=0),
    steps=(Step("s" * 63, participant="p" * 63, action="A" * 63, compensation="C" * 63),),
)


@pytest.mark.parametrize("definition", [*definitions, holiday, *parcels, LONG], ids=lambda one: one.name[:20])
def test_no_line_is_wider_than_a_terminal_and_nothing_is_left_out(definition: SagaDefinition) -> None:
    """Long names are broken within their column; put together again, each is there whole."""
    lines = table(definition).splitlines()
    assert max(map(len, lines)) <= WIDTH
    rows = lines[lines.index("") + 3 :]
    rows = rows[: rows.index("")] if "" in rows else rows
    bars = lines[lines.index("") + 2].split("  ")
    starts = [sum(len(bar) + 2 for bar in bars[:number]) for number in range(len(bars))]
    columns = [
        "".join(row[start : start + len(bar)].strip() for row in rows) for start, bar in zip(starts, bars, strict=True)
    ]
    for step in definition.steps:
        for column, word in zip(columns, (step.name, step.kind, step.participant, step.action), strict=False):
            assert word in column
        assert (step.compensation or "-") in columns[4]


def test_the_table_says_what_a_person_asks_first() -> None:
    """Deadline, recovery and input stand above; conditions, groups, payloads and progress behind each step."""
    words = " ".join(table(holiday).split())
    for said in (
        "Holiday version 2",
        "business key: booking_id",
        "deadline: 6 h",
        "recovery: 2 tries, pauses from 5 s times 2 up to 1 min",
        "companion (optional)",
        "external - - 4 h - when: More than",
        "group bookings; when:",
        "wants_car; undo within",
        "SendLetter - 1 min 7 payload: A letter",
        "progress up to 10 min",
        "book_hotel city = input.city, guest.full-name = input.traveller.name",
    ):
        assert said in words


def test_a_definition_without_recovery_and_one_that_leaves_it_to_the_settings_differ() -> None:
    """No tries means that a person is asked at once; nothing said means that the settings decide."""
    assert "recovery:     none: a person is asked at once" in table(LONG)
    assert "recovery:     as the coordinator's settings say" in table(parcels[0])


def test_lengths_of_time_are_said_in_the_largest_units() -> None:
    """A reader does no sums."""
    said = [duration(length) for length in (hours(25.5), minutes(2), seconds(90), seconds(0.25), seconds(0))]
    assert said == ["1 d 1 h 30 min", "2 min", "1 min 30 s", "250 ms", "0 ms"]


def test_the_json_of_a_definition_has_its_numbers_in_milliseconds_and_its_functions_by_name() -> None:
    """Programs read the same facts that people see."""
    said = document(holiday)
    assert (said["deadline_ms"], said["recovery"]["cap_ms"]) == (21_600_000, 60_000)
    hotel, car, approval, payment, *_ = said["steps"]
    assert hotel["payload"] == {"city": "input.city", "guest.full-name": "input.traveller.name"}
    assert (hotel["group"], hotel["progress_max_ms"], car["when"]) == ("bookings", 600_000, "wants_car")
    assert (approval["external"], "action" in approval) == (True, False)
    assert (payment["kind"], payment["payload"]) == ("pivot", "The room's price")
    assert document(parcels[0])["steps"][0]["payload"] == "input"
