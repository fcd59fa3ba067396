"""Payment reacts to others' events, on a real Kafka and a real Postgres: all its duties, and nobody who commands it."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from coordinator.wire.cloudevents import header, message_headers
from coordinator.wire.murmur2 import partition_of
from deploy.local.stack import LocalStack
from participants.kit.reactions import EVENT_BYTES_MAX, dump_headers
from tests.integration.participants.exchange import TRACE, now_ms
from tests.integration.participants.office import ORDER, Office

PARTITIONS = 3
SOURCES = ("inventory", "payment", "shipping")
_numbers = itertools.count(1)


class Stage:
    """Payment among others: says what others would say, and hears what payment says."""

    def __init__(self, stack: LocalStack, office: Office) -> None:
        servers = stack.kafka.bootstrap_servers
        self.office = office
        self.heard: defaultdict[str, list[Any]] = defaultdict(list)
        self._producer = AIOKafkaProducer(bootstrap_servers=servers)
        self._consumer = AIOKafkaConsumer(
            f"{office.prefix}payment.events",
            bootstrap_servers=servers,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=20,
        )
        self._listening: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()

    async def open(self) -> None:
        """Make the topics of events and listen."""
        topics = {f"{self.office.prefix}{source}.events": PARTITIONS for source in SOURCES}
        await asyncio.to_thread(self.office.stack.create_topics, topics)
        await self._producer.start()
        await self._consumer.start()
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
        await self._producer.stop()
        await self._consumer.stop()

    async def say(self, source: str, ce_type: str, data: dict[str, Any], ce_id: str | None = None) -> None:
        """Publish an event."""
        key = str(data.get("order_id"))
        headers = message_headers(ce_type, ce_id or f"{key}:{ce_type}", source, key, now_ms(), TRACE)
        await self.raw(source, msgspec.json.encode(data), headers, key.encode())

    async def raw(
        self, source: str, value: bytes | None, headers: list[tuple[str, bytes]], key: bytes = b"raw"
    ) -> None:
        """Publish any bytes on a topic of events."""
        await self._producer.send_and_wait(f"{self.office.prefix}{source}.events", value, key=key, headers=headers)

    async def hear(self, order: dict[str, Any], count: int = 1) -> list[tuple[str, dict[str, Any]]]:
        """Wait until payment has said so much about an order; answers (type, what payment adds)."""
        said = self.heard[order["order_id"]]
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: len(said) >= count), 20)
        return [
            ((header(each.headers, "ce_type") or b"").decode(), msgspec.json.decode(each.value)["payment"])
            for each in said
        ]

    async def _listen(self) -> None:
        async for record in self._consumer:
            self.heard[(record.key or b"").decode()].append(record)
            async with self._news:
                self._news.notify_all()


def order(**changes: Any) -> dict[str, Any]:
    """Make an order as inventory's event carries it."""
    return {**ORDER, "order_id": f"order-{next(_numbers)}", "inventory": {"reservation_id": "rsv_1"}, **changes}


@pytest.fixture(scope="module")
async def stage(stack: LocalStack) -> AsyncIterator[Stage]:
    """Give payment at work, and everybody's topics of events."""
    name = f"reactions_{secrets.token_hex(4)}"
    office = Office(stack, await asyncio.to_thread(stack.create_database, name), f"{name}.")
    await office.open("payment")
    stage = Stage(stack, office)
    await stage.open()
    child = await office.launched("payment")
    yield stage
    await asyncio.to_thread(child.stop)
    await stage.close()
    await office.close()
    await asyncio.to_thread(stack.postgres.drop_database, name)


async def payments(office: Office, order: dict[str, Any]) -> list[str]:
    """List what payment did for an order."""
    rows = await office.rows("select kind from payment.effects where order_id = $1 order by seq", order["order_id"])
    return [row["kind"] for row in rows]


async def test_an_event_is_answered_by_an_event(stage: Stage) -> None:
    """It has the key, partition, source, subject and trace that it should, and carries on what came."""
    one = order()
    await stage.say("inventory", "InventoryReserved", one)
    [(ce_type, answer)] = await stage.hear(one)
    assert (ce_type, answer["amount_cents"]) == ("PaymentProcessed", one["amount_cents"])
    [record] = stage.heard[one["order_id"]]
    names = ("ce_id", "ce_source", "ce_subject", "traceparent")
    key = one["order_id"].encode()
    assert [header(record.headers, name) for name in names] == [
        *(key + b":PaymentProcessed", b"payment", key, TRACE.encode())
    ]
    assert record.partition == partition_of(key, PARTITIONS)
    assert msgspec.json.decode(record.value) == {**one, "payment": answer}
    assert await payments(stage.office, one) == ["done"]


async def test_the_same_event_again_says_the_same_again(stage: Stage) -> None:
    """Under its own id or another: no second charge, and the same bytes under the same ce_id."""
    one = order()
    for ce_id in (None, None, "another id"):
        await stage.say("inventory", "InventoryReserved", one, ce_id)
    await stage.hear(one, 3)
    said = stage.heard[one["order_id"]]
    assert len({(header(each.headers, "ce_id"), each.value) for each in said}) == 1
    assert await payments(stage.office, one) == ["done"]


async def test_a_refusal_is_an_event(stage: Stage) -> None:
    """It names the reason and leaves nothing behind."""
    one = order(card={"token": "tok_declined"})
    await stage.say("inventory", "InventoryReserved", one)
    [(ce_type, answer)] = await stage.hear(one)
    assert (ce_type, answer["error"]["code"]) == ("PaymentFailed", "card_declined")
    assert await payments(stage.office, one) == []


async def test_a_walk_back_undoes_once(stage: Stage) -> None:
    """Money comes back once, however often the failure is told."""
    one = order()
    await stage.say("inventory", "InventoryReserved", one)
    await stage.hear(one)
    for _ in range(2):
        await stage.say("shipping", "ShipmentFailed", one)
    said = await stage.hear(one, 3)
    assert said[1:] == [("PaymentRefunded", {"effect": "undone"})] * 2
    assert await payments(stage.office, one) == ["done", "undone"]


async def test_a_walk_back_before_the_event_leaves_a_tombstone(stage: Stage) -> None:
    """There is nothing to undo, and there never will be: the late event charges nothing and says nothing."""
    one, other = order(), order()
    await stage.say("shipping", "ShipmentFailed", one)
    assert await stage.hear(one) == [("PaymentRefunded", {"effect": "nothing_to_undo"})]
    await stage.say("inventory", "InventoryReserved", one)
    await stage.office.until("select count(*) = 1 from payment.kit_command where answer like '%compensated_already%'")
    assert await payments(stage.office, one) == []
    await stage.say("inventory", "InventoryReserved", other)
    await stage.hear(other)
    assert len(stage.heard[one["order_id"]]) == 1


async def test_what_may_pass_is_handled_again_without_being_asked(stage: Stage) -> None:
    """Nobody repeats an event whose handling failed for a while: the participant does, and forgets it when done."""
    one = order()
    await stage.office.fault("payment", "retry", match=one["order_id"], times=2)
    await stage.say("inventory", "InventoryReserved", one)
    assert [ce_type for ce_type, _ in await stage.hear(one)] == ["PaymentProcessed"]
    assert await payments(stage.office, one) == ["done"]
    await stage.office.until("select count(*) = 0 from payment.kit_event")


async def test_what_nobody_knows_any_more_holds_up_nobody(stage: Stage) -> None:
    """Of the events that wait, bad ones become letters, unknown ones wait longer, and those behind are served.

    The one behind has a header that is null.
    """
    one = order()
    known = message_headers("InventoryReserved", "i", "inventory", None, now_ms())
    waiting: list[tuple[str, list[tuple[str, bytes | None]], dict[str, Any]]] = [
        ("inventory", [*known], {"order_id": 7}),
        ("inventory", [*message_headers("InventoryDoubted", "i", "inventory", None, now_ms())], one),
        ("stranger", [*known], one),
        ("inventory", [*known, ("empty", None)], one),
    ]
    for number, (source, headers, data) in enumerate(waiting):
        await stage.office.rows(
            "insert into payment.kit_event (topic, part, record_offset, headers, value, run_at)"
            " values ($1, 77, $2, $3, $4, clock_timestamp() - interval '1 hour')",
            *(f"{stage.office.prefix}{source}.events", number, dump_headers(headers), msgspec.json.encode(data)),
        )
    assert [ce_type for ce_type, _ in await stage.hear(one)] == ["PaymentProcessed"]
    await stage.office.until("select count(*) = 1 from payment.kit_dead_letter where part = 77 and record_offset = 0")
    await stage.office.until(
        "select array_agg(record_offset order by record_offset) = '{1,2}' and min(tries) > 1"
        " and min(run_at) > clock_timestamp() - interval '1 minute' from payment.kit_event"
    )
    await stage.office.rows("delete from payment.kit_event where part = 77")
    await stage.office.rows("delete from payment.kit_dead_letter where part = 77")


async def test_what_no_reader_would_take_is_a_refusal(stage: Stage) -> None:
    """An event that would grow beyond what readers take is not said: the action is rolled back and refused."""
    one = order()
    one["note"] = "x" * (EVENT_BYTES_MAX - len(msgspec.json.encode(one)) - 20)
    await stage.say("inventory", "InventoryReserved", one)
    [(ce_type, answer)] = await stage.hear(one)
    assert (ce_type, answer["error"]["code"]) == ("PaymentFailed", "too_large")
    assert await payments(stage.office, one) == []


async def test_what_cannot_be_read_is_kept_and_holds_up_nobody(stage: Stage) -> None:
    """Records without sense become dead letters with their bytes; other types are passed over; the rest is served."""
    one = order()
    headers = message_headers("InventoryReserved", "i", "inventory", None, now_ms())
    await stage.raw("inventory", b"{", headers)
    await stage.raw("inventory", b'{"order_id":7}', headers)
    await stage.raw("inventory", b"{}", message_headers("InventoryCounted", "i", "inventory", None, now_ms()))
    await stage.raw("inventory", b'{"order_id":"o"}', message_headers("InventoryReserved", "i", "eve", None, now_ms()))
    await stage.say("inventory", "InventoryReserved", one)
    await stage.hear(one)
    await stage.office.until("select count(*) = 3 from payment.kit_dead_letter")
    rows = await stage.office.rows("select reason, value from payment.kit_dead_letter")
    assert {row["reason"]: row["value"] for row in rows} == {
        "not_json": b"{",
        "schema": b'{"order_id":7}',
        "not_owner": b'{"order_id":"o"}',
    }


@pytest.mark.parametrize("phase", ["before_commit", "after_commit", "after_publish"])
async def test_a_killed_participant_says_it_after_its_restart(
    real_kafka: LocalStack, own_office: Office, phase: str
) -> None:
    """Killed at any point of its work, it has charged once and has said so, under one id, soon after its restart."""
    await own_office.open("payment")
    stage = Stage(real_kafka, own_office)
    await stage.open()
    try:
        child = await own_office.launched("payment", "--instance", "one")
        await own_office.fault("payment", "crash", phase=phase, times=1)
        one = order()
        await stage.say("inventory", "InventoryReserved", one)
        assert await asyncio.to_thread(child.wait, 20) == -signal.SIGKILL
        child = await own_office.launched("payment", "--instance", "one")
        await stage.hear(one)
        assert {header(each.headers, "ce_id") for each in stage.heard[one["order_id"]]} == {
            f"{one['order_id']}:PaymentProcessed".encode()
        }
        assert await payments(own_office, one) == ["done"]
        await asyncio.to_thread(child.stop)
    finally:
        await stage.close()


async def test_topics_of_events_may_come_later(real_kafka: LocalStack, own_office: Office) -> None:
    """A participant serves commands where nobody has made topics of events, and reads them when somebody does."""
    await own_office.open("payment")
    child = await own_office.launched("payment")
    stage = Stage(real_kafka, own_office)
    await stage.open()
    try:
        one = order()
        await stage.say("inventory", "InventoryReserved", one)
        await stage.hear(one)
        assert await asyncio.to_thread(child.stop) == 0
    finally:
        await stage.close()
