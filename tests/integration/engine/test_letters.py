"""Dead letters with a real engine, Kafka and Postgres: what people do to them, and what comes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import InvalidInput, NotFound
from coordinator.kafka.again import read_again
from coordinator.kafka.publisher import Publisher
from coordinator.kafka.topics import cluster_id
from coordinator.observability.metrics import Metrics
from coordinator.services.letters import LetterConflict, LetterRefused, LetterService
from coordinator.store.letters import LetterFilter, LetterReads
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import Replicas
from tests.e2e.definitions import definitions
from tests.e2e.world import PARTITIONS
from tests.integration.engine.bench import Bench, Raw, Target, reply

ACTOR, REASON = "ann", "the participant was mended"


class Desk:
    """An operator's desk beside a running engine."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.topology = Topology(bench.world.prefix, {bench.topic: PARTITIONS})
        url = bench.world.stack.application_url(bench.world.url)
        self.store = PostgresStore(url)
        self.reads = SagaReads(url, 2)
        self.servers = bench.world.stack.kafka.bootstrap_servers
        self.bus = Publisher(self.servers, "desk")
        self.registry = Registry(definitions)
        self.service: LetterService

    async def open(self) -> None:
        """Connect."""
        await self.store.start()
        await self.bus.start()
        self.registry.bind((await Replicas(self.store, "desk").register(self.registry.contents)).ids)
        self.service = LetterService(
            self.store,
            LetterReads(self.reads),
            self.bus,
            self.topology,
            self.registry,
            Metrics(),
            await cluster_id(self.servers),
            lambda *place: read_again(self.servers, *place),
        )

    async def close(self) -> None:
        """Let go."""
        await self.bus.stop()
        await self.reads.stop()
        await self.store.stop()

    async def poison(self, raw: Raw, target: Target) -> int:
        """Let the engine set a record aside; answers the letter's id."""
        [offset] = await self.bench.deliver(target.part, raw)
        [letter] = await self.bench.letters(target.part, offset, offset)
        return int(letter["id"])

    async def row(self, letter_id: int) -> dict[str, Any]:
        """Read a letter's row, without what its publication on the dead-letter topic changes at some moment."""
        [row] = await self.bench.world.rows("SELECT * FROM dead_letter WHERE id = $1", letter_id)
        return {name: value for name, value in row.items() if name != "on_topic"}

    async def acts(self, letter_id: int) -> list[tuple[str, str, str]]:
        """Read what the audit says of a letter."""
        query = "SELECT actor, action, reason FROM audit_log WHERE letter_id = $1 ORDER BY id"
        return [tuple(row) for row in await self.bench.world.rows(query, letter_id)]

    async def count(self) -> int:
        """Count all letters."""
        return int(await self.bench.world.value("SELECT count(*) FROM dead_letter"))

    async def pretend_sent(self, letter_id: int, try_: int) -> Raw:
        """Let a letter be sent as a worker would that dies then; answers the record, which is not in Kafka yet."""
        await self.bench.world.rows(
            "UPDATE dead_letter SET state = 'redriven', tries = $2, next_try_at = NULL WHERE id = $1", letter_id, try_
        )
        row = await self.row(letter_id)
        headers = [(name, text.encode()) for name, text in json.loads(row["headers"])]
        return Raw(row["value"], [*headers, ("saga-redriven", f"{letter_id};{try_}".encode())], row["key"])


@pytest.fixture
async def desk(bench: Bench) -> AsyncIterator[Desk]:
    """Give an operator's desk."""
    desk = Desk(bench)
    await desk.open()
    yield desk
    await desk.close()


def broken(target: Target) -> Raw:
    """Make a reply with an attempt that is no number."""
    return reply(target, target.completed(attempt="one"))


def mended(target: Target) -> bytes:
    """Make the value that the reply should have had."""
    return json.dumps(target.completed()).encode()


async def test_an_edited_letter_moves_its_saga_once(bench: Bench, desk: Desk) -> None:
    """A poison record is kept with its bytes; edited and sent again it does its work, once, under its own identity."""
    [target] = await bench.targets()
    record = broken(target)
    letter = await desk.poison(record, target)
    before = await bench.moment(target)
    after = await desk.service.redrive(letter, ACTOR, REASON, mended(target))
    assert (after.state, after.tries, after.changed_by, after.edited) == ("redriven", 1, ACTOR, True)
    query = "SELECT count(*) = $2 FROM saga_log WHERE saga_id = $1::uuid"
    await bench.world.until(query, target.saga_id, before.log + 1)
    shown = await desk.service.get(letter)
    assert (shown.original.value, shown.current.value) == (record.value, mended(target))
    assert (shown.original.key, list(shown.original.headers)) == (record.key, record.headers)
    assert list(shown.current.headers) == record.headers
    assert await desk.acts(letter) == [(ACTOR, "redrive", REASON)]
    assert (await desk.row(letter))["next_try_at"] is None


async def test_an_act_outlives_who_was_asked(bench: Bench, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies between its commit and its publication has promised a record: an engine sends it."""
    [target] = await bench.targets()
    letter = await desk.poison(broken(target), target)

    async def die(_messages: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(desk.bus, "publish", die)
    with pytest.raises(asyncio.CancelledError):
        await desk.service.redrive(letter, ACTOR, REASON, mended(target))
    row = await desk.row(letter)
    assert (row["state"], row["tries"]) == ("redriven", 1)
    assert row["next_try_at"] is not None
    assert await desk.acts(letter) == [(ACTOR, "redrive", REASON)]
    await bench.world.rows("UPDATE dead_letter SET next_try_at = now() WHERE id = $1", letter)
    await bench.world.until("SELECT count(*) > 1 FROM saga_log WHERE saga_id = $1::uuid", target.saga_id)
    await bench.world.until("SELECT next_try_at IS NULL AND tries = 1 FROM dead_letter WHERE id = $1", letter)


async def test_a_letter_published_twice_is_a_duplicate(bench: Bench, desk: Desk) -> None:
    """A crash between publishing and marking sends a record twice: the saga moves with the first, and no more."""
    [target] = await bench.targets()
    letter = await desk.poison(broken(target), target)
    await desk.service.redrive(letter, ACTOR, REASON, mended(target))
    await bench.world.until("SELECT count(*) > 1 FROM saga_log WHERE saga_id = $1::uuid", target.saga_id)
    before = await bench.moment(target)
    record = await desk.pretend_sent(letter, 1)
    await bench.deliver(target.part, Raw(mended(target), record.headers, record.key))
    after = await bench.moment(target)
    assert (after.saga, after.log) == (before.saga, before.log)
    assert after.verdicts["duplicate"] == before.verdicts["duplicate"] + 1
    assert (await desk.row(letter))["state"] == "redriven"


async def test_a_letter_that_fails_again_is_the_same_letter(bench: Bench, desk: Desk) -> None:
    """A record that was sent again and cannot be read again opens its own letter, and makes no other, come it twice."""
    [target] = await bench.targets()
    letter = await desk.poison(broken(target), target)
    count = await desk.count()
    record = await desk.pretend_sent(letter, 3)
    await bench.deliver(target.part, record, record)
    row = await desk.row(letter)
    assert (row["state"], row["tries"], row["next_try_at"]) == ("open", 3, None)
    assert row["changed_because"] == "try 3 was set aside again"
    assert await desk.count() == count


async def test_a_claim_to_be_a_letter_is_checked(bench: Bench, desk: Desk) -> None:
    """Who writes the header of another letter on a bad record hides nothing: it becomes a letter, the other stays."""
    [target] = await bench.targets()
    letter = await desk.poison(broken(target), target)
    await desk.pretend_sent(letter, 1)
    liar = Raw(b"something else", [*broken(target).headers, ("saga-redriven", f"{letter};1".encode())], b"key")
    other = await desk.poison(liar, target)
    assert other != letter
    assert (await desk.row(other))["value"] == b"something else"
    assert (await desk.row(letter))["state"] == "redriven"


async def test_a_cut_letter_is_read_again(bench: Bench, desk: Desk) -> None:
    """Of a long record only the beginning is kept; while Kafka has it, it can be kept as a whole, and edited then."""
    [target] = await bench.targets()
    record = reply(target, target.completed(attempt="one", result={"reservation_id": "r-1", "note": "x" * 100_000}))
    letter = await desk.poison(record, target)
    shown = await desk.service.get(letter)
    assert (shown.summary.complete, shown.legible.json) == (False, None)
    with pytest.raises(LetterRefused, match="attempt"):
        await desk.service.redrive(letter, ACTOR, REASON)
    shown = await desk.service.complete(letter)
    assert shown.summary.complete
    assert (shown.original.key, shown.original.value) == (record.key, record.value)
    assert list(shown.original.headers) == record.headers


async def test_a_cut_letter_needs_its_value(bench: Bench, desk: Desk) -> None:
    """What Kafka does not have any more is sent again with a value that somebody gives, or not at all."""
    [target] = await bench.targets()
    letter = await desk.poison(reply(target, b"x" * 100_000), target)
    await bench.world.rows("UPDATE dead_letter SET first_offset = 10^9, next_offset = 10^9 + 1 WHERE id = $1", letter)
    shown = await desk.service.complete(letter)
    assert (shown.summary.complete, shown.summary.value_length) == (False, 100_000)
    with pytest.raises(InvalidInput, match="only the beginning is kept"):
        await desk.service.redrive(letter, ACTOR, REASON)
    await desk.service.redrive(letter, ACTOR, REASON, mended(target))
    await bench.world.until("SELECT count(*) > 1 FROM saga_log WHERE saga_id = $1::uuid", target.saga_id)


async def test_a_letter_of_another_cluster_is_not_looked_for(bench: Bench, desk: Desk) -> None:
    """The offset of a cluster that is no more says nothing about this one."""
    [target] = await bench.targets()
    letter = await desk.poison(reply(target, b"x" * 100_000), target)
    await bench.world.rows("UPDATE dead_letter SET cluster_id = 'elsewhere' WHERE id = $1", letter)
    assert not (await desk.service.complete(letter)).summary.complete


async def test_an_edit_does_not_lose_what_was_cut(bench: Bench, desk: Desk) -> None:
    """A value that somebody gives is sent with the headers that the record had, not with those that were cut."""
    [target] = await bench.targets()
    record = broken(target)
    long = Raw(record.value, [*record.headers, ("baggage", b"x" * 2_000)], record.key)
    letter = await desk.poison(long, target)
    assert not (await desk.service.get(letter)).summary.complete
    await desk.service.redrive(letter, ACTOR, REASON, mended(target))
    shown = await desk.service.get(letter)
    assert shown.summary.complete
    assert list(shown.current.headers) == long.headers
    await bench.world.until("SELECT count(*) > 1 FROM saga_log WHERE saga_id = $1::uuid", target.saga_id)


async def test_another_record_at_the_same_place_completes_nothing(bench: Bench, desk: Desk) -> None:
    """A record with another key is not the one of which the letter keeps the beginning, whatever its value says."""
    [target] = await bench.targets()
    letter = await desk.poison(reply(target, b"x" * 100_000), target)
    await bench.world.rows("UPDATE dead_letter SET key = 'another' WHERE id = $1", letter)
    assert not (await desk.service.complete(letter)).summary.complete


async def test_headers_that_were_cut_are_not_sent_as_if_they_were_whole(bench: Bench, desk: Desk) -> None:
    """Where Kafka does not have the record any more, a letter with cut headers wants those that are needed, too."""
    [target] = await bench.targets()
    record = broken(target)
    letter = await desk.poison(Raw(record.value, [*record.headers, ("baggage", b"x" * 2_000)], record.key), target)
    gone = 2_000_000_000
    await bench.world.rows(
        "UPDATE dead_letter SET first_offset = $2::bigint, next_offset = $2::bigint + 1 WHERE id = $1", letter, gone
    )
    before = await desk.row(letter)
    with pytest.raises(InvalidInput, match="not all headers are kept") as refused:
        await desk.service.redrive(letter, ACTOR, REASON, mended(target))
    assert refused.value.pointer == "/headers"
    assert await desk.row(letter) == before
    await desk.service.redrive(letter, ACTOR, REASON, mended(target), {"baggage": None})
    await bench.world.until("SELECT count(*) > 1 FROM saga_log WHERE saga_id = $1::uuid", target.saga_id)


async def test_headers_are_edited_by_name(bench: Bench, desk: Desk) -> None:
    """A header that was missing is added, and one that is named with nothing is removed; the others stay."""
    [target] = await bench.targets()
    record = reply(target, target.completed())
    incomplete = [pair for pair in record.headers if pair[0] != "ce_source"]
    letter = await desk.poison(Raw(record.value, [*incomplete, ("noise", b"1")], record.key), target)
    await desk.service.redrive(letter, ACTOR, REASON, headers={"ce_source": b"inventory", "noise": None})
    await bench.world.until("SELECT count(*) > 1 FROM saga_log WHERE saga_id = $1::uuid", target.saga_id)
    shown = await desk.service.get(letter)
    assert list(shown.current.headers) == [*incomplete, ("ce_source", b"inventory")]


async def test_a_refused_act_changes_nothing(bench: Bench, desk: Desk) -> None:
    """What cannot be read, what is about something else, and words that say nothing are refused, and leave no trace."""
    target, other = await bench.targets(2)
    letter = await desk.poison(broken(target), target)
    before = await desk.row(letter)
    with pytest.raises(LetterRefused) as refused:
        await desk.service.redrive(letter, ACTOR, REASON)
    assert (refused.value.refusal.reason, refused.value.refusal.path) == ("schema", "attempt")
    with pytest.raises(LetterRefused, match="not_json"):
        await desk.service.redrive(letter, ACTOR, REASON, b"nonsense")
    with pytest.raises(LetterRefused, match="ce_source"):
        await desk.service.redrive(letter, ACTOR, REASON, mended(target), {"ce_source": None})
    with pytest.raises(InvalidInput, match="saga_id"):
        await desk.service.redrive(letter, ACTOR, REASON, mended(other))
    with pytest.raises(InvalidInput, match="the reason is"):
        await desk.service.redrive(letter, ACTOR, "  ", mended(target))
    with pytest.raises(InvalidInput, match="the actor is"):
        await desk.service.discard(letter, "", REASON)
    with pytest.raises(NotFound):
        await desk.service.redrive(2**62, ACTOR, REASON)
    with pytest.raises(NotFound):
        await desk.service.get(2**70)
    assert await desk.row(letter) == before
    assert await desk.acts(letter) == []


async def test_another_identity_is_taken_when_it_is_meant(bench: Bench, desk: Desk) -> None:
    """An operator who says so may send a letter to another saga than the one that it was about."""
    target, other = await bench.targets(2)
    letter = await desk.poison(broken(target), target)
    await desk.service.redrive(letter, ACTOR, REASON, mended(other), new_identity=True)
    await bench.world.until("SELECT count(*) > 1 FROM saga_log WHERE saga_id = $1::uuid", other.saga_id)


async def test_a_closed_letter_stays_closed(bench: Bench, desk: Desk) -> None:
    """What was discarded or sent again cannot be discarded or sent again; the refusal says what became of it."""
    target, other = await bench.targets(2)
    discarded = await desk.poison(broken(target), target)
    assert (await desk.service.discard(discarded, ACTOR, REASON)).state == "discarded"
    redriven = await desk.poison(broken(other), other)
    await desk.service.redrive(redriven, ACTOR, REASON, mended(other))
    for letter, state in ((discarded, "discarded"), (redriven, "redriven")):
        with pytest.raises(LetterConflict, match=f"{state} by {ACTOR}") as conflict:
            await desk.service.redrive(letter, ACTOR, REASON, mended(target))
        assert conflict.value.state == state
        with pytest.raises(LetterConflict, match=state):
            await desk.service.discard(letter, ACTOR, REASON)
    assert await desk.acts(discarded) == [(ACTOR, "discard", REASON)]
    assert await desk.acts(redriven) == [(ACTOR, "redrive", REASON)]


async def test_of_two_operators_one_acts(bench: Bench, desk: Desk) -> None:
    """Two people who press the button at once send one record, and one of them hears that it was done."""
    [target] = await bench.targets()
    letter = await desk.poison(broken(target), target)
    calls = [desk.service.redrive(letter, name, REASON, mended(target)) for name in ("ann", "ben")]
    answers: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["LetterConflict", "LetterSummary"]
    assert len(await desk.acts(letter)) == 1
    assert (await desk.row(letter))["tries"] == 1


async def test_a_command_is_a_matter_of_its_saga(bench: Bench, desk: Desk) -> None:
    """The letter of a compensation is neither sent nor discarded as a record: the saga has verbs for that."""
    [target] = await bench.targets()
    [row] = await bench.world.rows(
        "INSERT INTO dead_letter (kind, reason, detail, topic, partition, headers, saga_id, saga_version, command_id)"
        " VALUES ('compensation', 'r', '', 't', 0, '[]', $1::uuid, 1, 'c') RETURNING id",
        target.saga_id,
    )
    with pytest.raises(LetterConflict, match=f"retry saga {target.saga_id}"):
        await desk.service.redrive(row["id"], ACTOR, REASON)
    with pytest.raises(LetterConflict, match=f"resolve saga {target.saga_id}"):
        await desk.service.discard(row["id"], ACTOR, REASON)


async def test_a_range_is_no_record(bench: Bench, desk: Desk) -> None:
    """A letter that stands for several offsets says so and is not sent."""
    [row] = await bench.world.rows(
        "INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset,"
        " headers) VALUES ('record', 'crowd', '', 'elsewhere', $1, 0, 3, 7, '[]') RETURNING id",
        bench.topic,
    )
    with pytest.raises(LetterConflict, match="the offsets 3 to 6"):
        await desk.service.redrive(row["id"], ACTOR, REASON, b"{}")
    await desk.service.discard(row["id"], ACTOR, REASON)


async def test_letters_are_listed_page_by_page(bench: Bench, desk: Desk) -> None:
    """Pages go from new to old without gaps or repeats, and each filter leaves out what does not fit."""
    [target] = await bench.targets()
    made = [await desk.poison(broken(target), target) for _ in range(5)]
    await desk.service.discard(made[2], ACTOR, REASON)
    opened = LetterFilter(state="open", kind="record", reason="schema")
    seen: list[int] = []
    before = None
    while len(seen) < 4:
        page = await desk.service.list(opened, before, 2)
        seen += [letter.id for letter in page]
        before = seen[-1]
    assert seen[:4] == [made[4], made[3], made[1], made[0]]
    assert made[2] in [letter.id for letter in await desk.service.list(LetterFilter(state="discarded"))]
    assert await desk.service.list(LetterFilter(reason="no such reason")) == []
    assert await desk.service.list(LetterFilter(saga_id=target.saga_id, state="open")) == []
    for wrong in (LetterFilter(state="lost"), LetterFilter(kind="letter")):
        with pytest.raises(InvalidInput):
            await desk.service.list(wrong)
    with pytest.raises(InvalidInput):
        await desk.service.list(LetterFilter(), limit=0)


async def test_open_letters_are_counted(bench: Bench, desk: Desk) -> None:
    """The gauge of open letters is what the database says, by kind, reason and who acts next."""
    [target] = await bench.targets()
    await desk.poison(broken(target), target)
    rows = await desk.store.fetch("count_dead_letters")
    counts = {(row["kind"], row["reason"], row["next"]): row["letters"] for row in rows}
    query = "SELECT count(*) FROM dead_letter WHERE state = 'open' AND reason = 'schema' AND kind = 'record'"
    assert counts["record", "schema", "person"] == await bench.world.value(query)
