"""Deadlines and replays against a real Postgres, Kafka's side scripted."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
import structlog

from coordinator.choreography import timers
from coordinator.choreography.replaying import Replays
from coordinator.services.verbs import VerbRefused
from coordinator.store.postgres import Unacceptable
from tests.integration.choreography.watching import (
    HASTY,
    Watch,
    event,
    new_key,
    saga,
)


async def test_a_deadline_does_not_pass_while_we_are_behind(watch: Watch, plain: Any) -> None:
    """It passes when everything that was on the topics after it has been taken in, by whomever, and then at once."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key, HASTY))
    watch.ends, watch.read = {("a", 0): 10, ("b", 0): 0}, {("a", 0): 9}
    assert await watch.fire() == 0
    watch.ends = {("a", 0): 99, ("b", 0): 99}  # the ends of that moment count, not those of now
    assert await watch.fire() == 0
    assert (await saga(plain, key))["status"] == "started"
    watch.read = {("a", 0): 10}
    assert await watch.fire() == 1
    row = await saga(plain, key)
    assert (row["status"], row["wake_at"]) == ("suspended", None)
    incident = await plain.fetchrow("SELECT * FROM incident WHERE saga_id = $1", row["id"])
    assert (incident["reason"], incident["step_name"], incident["resolved_at"]) == (
        *("next_event_overdue", "OrderCreated"),
        None,
    )


async def test_a_deadline_that_moved_on_does_not_pass(watch: Watch, plain: Any) -> None:
    """A saga that wakes for a deadline of before is put to sleep until the present one."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key))
    await plain.execute("UPDATE saga SET wake_at = now() - interval '1 minute' WHERE business_key = $1", key)
    assert await watch.fire() == 0
    row = await saga(plain, key)
    assert (row["status"], row["wake_at"]) == ("started", row["deadline"])


async def test_a_saga_that_nobody_observes_is_stuck(watch: Watch, plain: Any) -> None:
    """Where no observer runs, an overdue saga is counted, as one is that an engine has left alone."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key))
    id_ = (await saga(plain, key))["definition_id"]
    before = await stuck(watch)
    await plain.execute(
        "UPDATE saga SET wake_at = now() - interval '2 minutes', deadline = now() - interval '2 minutes'"
        " WHERE business_key = $1",
        key,
    )
    assert (await stuck(watch))[id_] == before[id_] + 1


async def stuck(watch: Watch) -> Counter[int]:
    """Count what has been overdue for a minute, by definition id."""
    found: Counter[int] = Counter()
    for row in await watch.store.fetch("survey_in_flight", 60):
        found[row["definition_id"]] += row["stuck"]
    return found


async def test_a_replay_is_owed_until_kafka_has_it(watch: Watch, replays: Replays, plain: Any) -> None:
    """The last good event goes to its topic and partition byte for byte, and only then is it said to be there."""
    key = new_key()
    created, reserved = event("OrderCreated", key, HASTY), event("InventoryReserved", key, HASTY)
    await watch.take_in(created, reserved)
    assert await watch.fire() == 1
    row = await saga(plain, key)
    await replays.replay(str(row["id"]), row["version"], "ann", "try again")
    watch.bus.away = True
    assert await watch.fire() == 0
    assert (await saga(plain, key))["status"] == "pending"
    watch.bus.away = False
    assert await watch.fire() == 1
    [sent] = watch.bus.sent
    assert (sent.topic, sent.partition) == ("inventory.events", 0)
    assert (sent.key, sent.value, sent.headers) == (key.encode(), reserved.record.value, reserved.record.headers)
    assert await _events(plain, key) == [
        *("EventObserved", "EventObserved", "DeadlinePassed", "ReplayRequested", "EventReplayed")
    ]
    assert await watch.fire() == 1  # nothing follows: the saga is suspended again
    assert (await saga(plain, key))["status"] == "suspended"
    assert len(watch.bus.sent) == 1


async def test_a_replay_is_asked_for_once(watch: Watch, replays: Replays, plain: Any) -> None:
    """A preview does nothing, a lost answer is looked up, ten hands do one act, and the others hear how it stands."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key, HASTY))
    assert await watch.fire() == 1
    row = await saga(plain, key)
    preview = await replays.preview(str(row["id"]), "ann")
    assert (preview.verb, preview.version, preview.next_status) == ("replay", row["version"], "pending")
    assert (await saga(plain, key))["version"] == row["version"]
    watch.store.deaf = True
    summary = await replays.replay(str(row["id"]), row["version"], "ann", "try again")
    assert (summary.status, summary.version) == ("pending", row["version"] + 1)
    hands = [replays.replay(str(row["id"]), row["version"], "ann", f"hand {number}") for number in range(10)]
    refused = await asyncio.gather(*hands, return_exceptions=True)
    assert all(isinstance(each, VerbRefused) and each.members["saga_status"] == "pending" for each in refused)
    audits = await plain.fetch("SELECT action, reason FROM audit_log WHERE saga_id = $1", row["id"])
    assert [tuple(audit) for audit in audits] == [("replay", "try again")]


async def test_a_replay_that_cannot_be_audited_is_not_owed(watch: Watch, replays: Replays, plain: Any) -> None:
    """Without its entry in the audit nothing changes; when it can be written, it says how the saga stood and stands."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key, HASTY))
    await watch.fire()
    row = await saga(plain, key)
    await plain.execute("ALTER TABLE audit_log ADD CONSTRAINT nothing_is_taken_any_more CHECK (false) NOT VALID")
    try:
        with pytest.raises(Unacceptable, match="nothing_is_taken_any_more"):
            await replays.replay(str(row["id"]), row["version"], "ann", "try again")
        assert await saga(plain, key) == row
    finally:
        await plain.execute("ALTER TABLE audit_log DROP CONSTRAINT nothing_is_taken_any_more")
    await replays.replay(str(row["id"]), row["version"], "ann", "try again", "request-1")
    act = await plain.fetchrow("SELECT * FROM audit_log WHERE saga_id = $1", row["id"])
    assert (act["actor"], act["action"], act["reason"], act["request_id"]) == (
        "ann",
        "replay",
        "try again",
        "request-1",
    )
    states = [msgspec.json.decode(act[name]) for name in ("state_before", "state_after")]
    versions = row["version"], row["version"] + 1
    assert states == [{"status": "suspended", "version": versions[0]}, {"status": "pending", "version": versions[1]}]


async def test_a_replay_that_kafka_refuses_is_not_owed_for_ever(watch: Watch, replays: Replays, plain: Any) -> None:
    """The saga is suspended again, an incident says why, and an operator may ask once more."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key, HASTY))
    await watch.fire()
    row = await saga(plain, key)
    await replays.replay(str(row["id"]), row["version"], "ann", "try again")
    watch.bus.refuses = "too_large"
    await watch.fire()
    row = await saga(plain, key)
    assert (row["status"], row["wake_at"]) == ("suspended", None)
    incidents = await plain.fetch("SELECT * FROM incident WHERE saga_id = $1 AND resolved_at IS NULL", row["id"])
    assert [(each["reason"], each["detail"]) for each in incidents] == [
        ("replay_refused", "OrderCreated cannot be published again: too_large")
    ]
    watch.bus.refuses = None
    await replays.replay(str(row["id"]), row["version"], "ann", "the limit is higher now")
    await watch.fire()
    assert [sent.token for sent in watch.bus.sent].count(str(row["id"])) == 1


async def test_sagas_that_cannot_be_judged_block_nobody(watch: Watch, plain: Any, monkeypatch: Any) -> None:
    """One that can be judged has its turn, however many are due before it; the others are seen once a minute."""
    monkeypatch.setattr(timers, "DUE_MAX", 3)
    strange, good = [new_key() for _ in range(7)], new_key()
    for key in (*strange, good):
        await watch.take_in(event("OrderCreated", key, HASTY))
    await plain.execute(
        "UPDATE saga SET state = '{}', wake_at = now() - interval '1 hour' WHERE business_key = ANY($1)", strange
    )
    with structlog.testing.capture_logs() as logs:
        for _ in range(6):
            await watch.fire()
    assert (await saga(plain, good))["status"] == "suspended"
    words = Counter(entry["event"] for entry in logs)
    assert (words["observed_sagas_left_out"], words["observed_state_unreadable"]) == (1, len(strange))
    await plain.execute("DELETE FROM saga WHERE business_key = ANY($1)", strange)


async def test_a_replay_that_was_only_late_is_not_refused(watch: Watch, replays: Replays, plain: Any) -> None:
    """When a try that was not heard of commits after the audit was asked, the next try's refusal is not believed."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key, HASTY))
    assert await watch.fire() == 1
    row = await saga(plain, key)
    watch.store.late = True
    summary = await replays.replay(str(row["id"]), row["version"], "ann", "try again")
    assert (summary.status, summary.version) == ("pending", row["version"] + 1)
    audits = await plain.fetch("SELECT action FROM audit_log WHERE saga_id = $1", row["id"])
    assert [audit["action"] for audit in audits] == ["replay"]


async def _events(plain: Any, key: str) -> list[str]:
    rows = await plain.fetch(
        "SELECT l.event FROM saga_log AS l JOIN saga AS s ON s.id = l.saga_id"
        " WHERE s.business_key = $1 ORDER BY l.version",
        key,
    )
    return [row["event"] for row in rows]
