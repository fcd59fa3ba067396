"""A soak asks for what can end, knows its limits, and notices when nothing moves."""

from __future__ import annotations

from collections import Counter

import msgspec

from coordinator.definitions import load_definitions
from tests.soak.asking import Asker, Wish
from tests.soak.definitions import PARTICIPANTS, definitions, plan
from tests.soak.measuring import Highest, Limits, Progress, Sample

WISHES = 3_000


def wishes(number: int = 1) -> list[Wish]:
    """What a soak of some length asks for."""
    asker = Asker(number, run="run")
    return [asker.wish() for _ in range(WISHES)]


def test_what_is_asked_for_follows_from_the_seed() -> None:
    """The same number asks for the same sagas and faults, another one for others."""
    assert wishes() == wishes()
    assert wishes() != wishes(2)


def test_every_definition_and_every_fault_is_among_it() -> None:
    """All definitions, all kinds of faults and each participant have their part, and no key comes twice."""
    asked = wishes()
    assert {wish.definition for wish in asked} == {definition.name for definition in definitions}
    kinds = Counter(mishap.kind for wish in asked for mishap in wish.mishaps)
    assert kinds.keys() == {"slow", "duplicate", "retry", "refuse", "fail_undo", "silent", "drop"}
    assert {mishap.participant for wish in asked for mishap in wish.mishaps} == set(PARTICIPANTS)
    assert len({wish.key for wish in asked}) == WISHES


def test_what_is_asked_for_fits() -> None:
    """Each input is one that its definition takes, and holds its business key."""
    models = {definition.name: definition for definition in definitions}
    for wish in wishes():
        definition = models[wish.definition]
        read = definition.input.model_validate_json(msgspec.json.encode(wish.input))
        assert getattr(read, definition.business_key) == wish.key


def test_no_saga_meets_a_fault_that_it_cannot_come_out_of_in_time() -> None:
    """Only impatient sagas wait for answers that never come, or use up a budget."""
    for wish in wishes():
        for mishap in wish.mishaps:
            assert mishap.what["match"] == wish.key
            if not wish.definition.startswith("Hasty"):
                assert mishap.kind not in ("silent", "drop")
                assert mishap.what["times"] in (1, 2)


def test_the_checkers_plan_is_that_of_the_definitions() -> None:
    """Steps, participants, commands and groups, which the plan names by itself, are those that coordinators load."""
    planned = plan("soak.").definitions
    for definition in definitions:
        told = [
            (step.name, step.participant, step.action, step.compensation or None, step.group)
            for step in planned[definition.name]
        ]
        assert told == [
            (step.name, step.participant, step.action, step.compensation, step.group) for step in definition.steps
        ]
    assert planned.keys() == {definition.name for definition in definitions}
    assert load_definitions("tests.soak.definitions:definitions") == definitions


def test_limits_are_kept_or_named() -> None:
    """A sample within the limits says nothing; each measure beyond its own is named, with both figures."""
    limits = Limits()
    good = Sample({"a": 100.0}, {"a": 50}, sessions=30, outbox=10, oldest_s=1.0, outbox_mb=1.0)
    assert list(good.excesses(limits)) == []
    bad = Sample(
        *({"a": 500.0}, {"a": 5000}),
        sessions=500,
        outbox=50_000,
        oldest_s=100.0,
        overdue_s=1000.0,
        dead={"saga": (90_000, 10_000), "outbox": (19_000, 0)},
        outbox_mb=100.0,
    )
    sentences = list(bad.excesses(limits))
    assert len(sentences) == 8
    assert "a has 500 MB resident, at most 300 are allowed" in sentences
    assert "saga has 90000 dead rows beside 10000 live ones" in sentences


def test_the_highest_of_each_measure_is_kept() -> None:
    """Nothing that was seen once is forgotten, and nothing seen is zero."""
    highest = Highest()
    highest.take(Sample({"a": 100.0, "b": 120.0}, {"a": 50}, sessions=30, outbox=10, oldest_s=1.0))
    highest.take(Sample({}, {}, sessions=20, outbox=40, dead={"saga": (400, 100)}))
    assert (highest.samples, highest.rss_mb_max, highest.descriptors_max, highest.sessions_max) == (2, 120.0, 50, 30)
    assert (highest.outbox_max, highest.outbox_age_s_max, highest.dead_rows_max) == (40, 1.0, 400)


def test_standing_still_is_noticed_after_a_while() -> None:
    """Any count that changes is progress; none for longer than the limit hangs."""
    progress = Progress(60.0, now=0.0)
    assert not progress.hangs(1.0, 5, 1)
    assert not progress.hangs(50.0, 5, 1)
    assert progress.hangs(62.0, 5, 1)
    assert progress.still_s(62.0) == 61.0
    assert not progress.hangs(63.0, 5, 2)
