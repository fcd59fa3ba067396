"""What there was before the storm and what there is after it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from tests.catalogue import shots
from tests.catalogue.batches import send_batches
from tests.catalogue.digest import Digest, take
from tests.catalogue.population import is_quiet
from tests.catalogue.stage import Stage
from tests.catalogue.storm import Sent, rage
from tests.e2e.world import PARTITIONS, eventually
from tests.integration.api.bad_requests import raw_requests
from tests.integration.engine.bench import PATIENCE_S, VERDICTS, Target


@dataclass
class Aftermath:
    """Both digests, what was sent between them, and sagas of each partition that still wait for a good reply."""

    before: Digest
    after: Digest
    sent: Sent
    figures: dict[str, int]
    verdicts: dict[str, int]
    waiting: list[Target]


async def storm(stage: Stage, dice: random.Random) -> Aftermath:
    """Send everything at the stage; what comes in batches of its own comes first, for the broker's disk is damaged."""
    rows = await shots.rows_of_kafka(stage)
    changed = await shots.mutations_of_kafka(stage, dice)
    waiting = [await stage.bench.target_of(part) for part in range(PARTITIONS)]
    await stage.look_up(waiting[0].saga_id)
    calls = [*await asyncio.to_thread(shots.rows_of_rest, stage, dice), *await shots.acts_of_rest(stage)]
    changed_calls = shots.mutations_of_rest(stage, dice)
    noise = raw_requests(f"Authorization: Bearer {stage.guarded.tokens['admin']}")
    await eventually(lambda: is_quiet(stage), within_s=PATIENCE_S, what="nothing is on its way before the storm")
    before, counted = await take(stage), await _verdicts(stage)
    batches = await send_batches(stage, waiting[0])
    sent = await rage(stage, [*rows, *changed], [*calls, *changed_calls], noise, waiting[0], dice)
    sent.records += batches
    await eventually(lambda: is_quiet(stage), within_s=PATIENCE_S, what="nothing is on its way after the storm")
    after, now = await take(stage, before.last_letter), await _verdicts(stage)
    figures = {
        "kafka_rows": len(rows) + len(batches) + 2,  # what was rolled back, and the flood
        "rest_rows": len(calls) + len(noise),
        "mutations": len(changed) + len(changed_calls),
    }
    return Aftermath(before, after, sent, figures, {name: now[name] - counted[name] for name in VERDICTS}, waiting)


async def _verdicts(stage: Stage) -> dict[str, int]:
    names = ", ".join(f'sum("{name}")::int AS "{name}"' for name in VERDICTS)
    [row] = await stage.world.rows(f"SELECT {names} FROM shard")  # noqa: S608
    return dict(row)
