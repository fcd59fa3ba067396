"""Sagas in every status, at rest; the ones that are to be shot at come from the bench."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.catalogue.definitions import ASKED, QUEUED
from tests.catalogue.stage import Stage
from tests.e2e.definitions import PATIENT
from tests.e2e.orders import REFUSED, order
from tests.e2e.world import PARTITIONS, eventually
from tests.integration.engine.bench import PATIENCE_S, reply
from tests.integration.engine.cases import reserve, turn_back

UNREFUNDABLE = "unrefundable"
STATUS = "SELECT bool_and(status = $2) FROM saga WHERE id = ANY($1::uuid[])"
OBSERVED = "SELECT EXISTS (SELECT FROM saga WHERE business_key = $1 AND status = $2)"


async def populate(stage: Stage) -> None:
    """Let sagas come to rest wherever a saga can: ended, waiting for everybody, turned back, parked, observed."""
    await _let_some_end(stage)
    await stage.send_participants_home()
    await _let_some_wait(stage)
    await _let_some_be_operated(stage)
    await eventually(lambda: is_quiet(stage), within_s=PATIENCE_S, what="nothing is on its way")


async def is_quiet(stage: Stage) -> bool:
    """Whether nothing is on its way: no message, no dead letter, no record that was not read."""
    world = stage.world
    moving = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM dead_letter WHERE NOT on_topic)"
    if await world.value(moving):
        return False
    read = {row["part"]: row["next_offset"] for row in await world.rows("SELECT part, next_offset FROM shard")}
    return await world.end_offsets() == read


async def _let_some_end(stage: Stage) -> None:
    """With real participants: done, undone, and undone as far as it goes."""
    world, engine = stage.world, stage.bench.engine
    await world.fault("payment", "fail_undo", command="RefundPayment", match=UNREFUNDABLE, code="no_way_back")
    done = [order() for _ in range(2 * PARTITIONS)]
    undone = [order(**changes) for changes in REFUSED]
    stuck = order(customer_id=UNREFUNDABLE, **REFUSED[2])
    danced = order()
    ids = [await engine.start_many(orders, PATIENT) for orders in (done, undone, [stuck])]
    await stage.say(danced)
    for saga_ids, status in zip(ids, ("completed", "failed", "suspended"), strict=True):
        await world.until(STATUS, saga_ids, status, within_s=PATIENCE_S)
    await world.until(OBSERVED, danced["order_id"], "completed", within_s=PATIENCE_S)
    await world.rest(PATIENCE_S)
    await world.mend()


async def _let_some_wait(stage: Stage) -> None:
    """Without participants: for the first answer, the next, an undo, people, their turn, and their day."""
    bench = stage.bench
    for _ in range(PARTITIONS):
        target, _, other = await bench.targets(3)
        await reserve(bench, target, target)
        await turn_back(bench, other, other)
    [puzzling] = await bench.targets()
    await bench.deliver(puzzling.part, reply(puzzling, puzzling.completed(result={})))
    [garbled] = await bench.targets()
    await bench.deliver(garbled.part, reply(garbled, b"{"))
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    later = {"definition": PATIENT, "input": order(), "start_at": tomorrow, "labels": {"tenant": "acme"}}
    await stage.post("/v1/sagas", later, headers={"Idempotency-Key": "once"})
    await stage.post("/v1/sagas", {**later, "input": order()})
    for name in (ASKED, QUEUED, QUEUED):
        await stage.post("/v1/sagas", {"definition": name, "input": order()})
    seen = order()
    await stage.say(seen)
    await stage.world.saga_of(seen, PATIENCE_S)
    await stage.world.until("SELECT EXISTS (SELECT 1 FROM held_step)", within_s=PATIENCE_S)


async def _let_some_be_operated(stage: Stage) -> None:
    """By people: paused, given up, undone in bulk; with notes, keys that are over, and letters that were closed."""
    paused, given_up = await stage.bench.targets(2)
    for target, verb in ((paused, "suspend"), (given_up, "abandon")):
        await stage.post(f"/v1/sagas/{target.saga_id}/{verb}", {"reason": "at night", "expected_version": 1})
    incident = (await stage.get("/v1/incidents"))["incidents"][0]
    await stage.post(f"/v1/incidents/{incident['id']}/assign", {"assignee": "ann"})
    await stage.post(f"/v1/incidents/{incident['id']}/notes", {"text": "the carrier was called"})
    key = await stage.post("/v1/keys", {"name": "over", "role": "viewer", "reason": "for a day"})
    await stage.post(f"/v1/keys/{key['id']}/revoke", {"reason": "the day is over"})
    [letter] = [each for each in (await stage.get("/v1/dead-letters"))["dead_letters"] if each["reason"] == "not_json"]
    await stage.post(f"/v1/dead-letters/{letter['id']}/discard", {"reason": "a test"})
    await _suspend_in_bulk(stage)
    await stage.post("/v1/sagas", {"definition": ASKED, "input": order()})


async def _suspend_in_bulk(stage: Stage) -> None:
    wanted = {"verb": "suspend", "filter": {"definition": ASKED, "status": "started"}}
    dry = await stage.post("/v1/batch-operations", {**wanted, "dry_run": True})
    sure = {"dry_run": False, "confirmation": dry["confirmation"], "reason": "nobody is there to approve"}
    begun = await stage.post("/v1/batch-operations", {**wanted, **sure})

    async def is_done() -> bool:
        return bool((await stage.get(f"/v1/batch-operations/{begun['id']}"))["state"] == "done")

    await eventually(is_done, within_s=PATIENCE_S, what="the batch operation is done")
