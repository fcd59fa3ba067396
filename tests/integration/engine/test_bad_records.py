"""Bad records on the reply topic, each by its place in the catalogue, against a real engine process."""

from __future__ import annotations

import json

import asyncpg
import pytest

from tests.integration.engine.bench import Bench, Moment, Raw, Target, reply
from tests.integration.engine.cases import CASES, Case, colourful_failure, lose, unknown_saga

RAW_MAX = 64 * 1024
HEADERS_MAX = 50
TEXT_MAX = 8 * 1024


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_bad_record_gets_its_verdict(bench: Bench, case: Case) -> None:
    """One durable verdict, a dead letter where one is due, an untouched saga, and the next record is served."""
    target, neighbour = await bench.targets(2)
    if case.prepare is not None:
        await case.prepare(bench, target, neighbour)
    record = case.make(target, neighbour)
    before = await bench.moment(target)
    [offset] = await bench.deliver(target.part, record)
    after = await bench.moment(target)
    assert moved(before, after) == {case.verdict: 1}
    if not case.moves:
        assert (after.saga, after.log) == (before.saga, before.log)
    else:
        assert after.log == before.log + 1
    if case.status is not None:
        assert await bench.status(target) == case.status
    letters = await bench.letters(target.part, offset, offset)
    if case.reason is not None:
        assert_letter(case, record, letters)
        assert counted(before, after, f'saga_dead_letters_total{{reason="{case.reason}"}}') == 1
    elif case.verdict != "foreign":
        assert letters == []
    assert counted(before, after, f'saga_records_total{{verdict="{case.verdict}"}}') == 1
    if case.oddity is not None:
        assert counted(before, after, f'saga_odd_records_total{{kind="{case.oddity}"}}') == 1
    await assert_next_is_served(bench, case, target)


async def test_k22_a_result_that_lacks_a_field_opens_an_incident(bench: Bench) -> None:
    """An effect that is real, with a result that nobody can use, stays undoable and asks for a person."""
    [target] = await bench.targets()
    await bench.deliver(target.part, reply(target, target.completed(result={})))
    [incident] = await bench.world.rows("SELECT * FROM incident WHERE saga_id = $1::uuid", target.saga_id)
    assert (incident["reason"], incident["step_name"]) == ("result_schema", "reserve_inventory")
    assert "reservation_id" in incident["detail"]
    state = await bench.world.value("SELECT convert_from(state, 'UTF8') FROM saga WHERE id = $1::uuid", target.saga_id)
    assert json.loads(state)["steps"][0]["outcome"] == "completed"


async def test_k24_strangers_are_kept_as_samples_only(bench: Bench) -> None:
    """Of many replies for unknown sagas at most one per second is kept, with its reason."""
    [target] = await bench.targets()
    offsets = await bench.deliver(target.part, *(unknown_saga(target, target) for _ in range(200)))
    letters = await bench.letters(target.part, offsets[0], offsets[-1])
    assert len(letters) < 20
    assert {letter["reason"] for letter in letters} <= {"unknown_saga"}


async def test_k33_the_undo_goes_on_after_a_late_success(bench: Bench) -> None:
    """A success of a step whose outcome was unknown is noted; the acknowledged undo ends the saga all the same."""
    [target] = await bench.targets()
    await lose(bench, target, target)
    undone = target.said(0, "compensation", effect="undone")
    await bench.deliver(
        target.part, reply(target, target.completed()), reply(target, undone, "SagaCompensationCompleted")
    )
    assert await bench.status(target) == "failed"


async def test_k41_what_a_participant_says_is_cut(bench: Bench) -> None:
    """A failure's text of 100 kB is stored in 8 KiB at most."""
    [target] = await bench.targets()
    await bench.deliver(target.part, colourful_failure(target, target))
    query = "SELECT max(octet_length(data)) FROM saga_log WHERE saga_id = $1::uuid"
    assert await bench.world.value(query, target.saga_id) <= TEXT_MAX + 512


def moved(before: Moment, after: Moment) -> dict[str, int]:
    """Say by how much each verdict grew."""
    grown = {name: after.verdicts[name] - before.verdicts[name] for name in before.verdicts}
    return {name: count for name, count in grown.items() if count}


def counted(before: Moment, after: Moment, sample: str) -> float:
    """Say by how much a counter grew."""
    return after.letters.get(sample, 0.0) - before.letters.get(sample, 0.0)


def assert_letter(case: Case, record: Raw, letters: list[asyncpg.Record]) -> None:
    """There is one dead letter, and it holds the record as it came."""
    [letter] = letters
    assert letter["reason"] == case.reason, letter["detail"]
    assert case.detail in letter["detail"]
    assert letter["next_offset"] == letter["first_offset"] + 1
    assert letter["key"] == record.key
    assert letter["value"] == (None if record.value is None else record.value[:RAW_MAX])
    assert letter["value_length"] == (None if record.value is None else len(record.value))
    kept = json.loads(letter["headers"])
    plain = [[name, value.decode()] for name, value in record.headers if value.isascii()]
    assert kept[: len(plain)] == plain
    assert len(kept) == min(len(record.headers), HEADERS_MAX)


async def assert_next_is_served(bench: Bench, case: Case, target: Target) -> None:
    """A good record behind the bad one does its work: of the same saga where that still waits, else of another."""
    waits = case.prepare is None and not case.moves
    good = target if waits else (await bench.targets())[0]
    before = await bench.moment(good)
    await bench.deliver(good.part, reply(good, good.completed()))
    after = await bench.moment(good)
    assert moved(before, after) == {"applied": 1}
    assert after.log == before.log + 1
