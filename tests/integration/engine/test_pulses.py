"""What an engine process writes down of participants, for those that own no partition."""

from __future__ import annotations

from tests.integration.engine.bench import Bench, Raw, reply


async def test_an_engine_writes_down_how_participants_do(bench: Bench) -> None:
    """A reply is counted once it is applied, with how long it took; a failure counts as one."""
    good, bad = await bench.targets(2)
    failed = reply(bad, bad.failed(), "SagaStepFailed")
    await bench.deliver(good.part, reply(good, good.completed()), Raw(failed.value, failed.headers, failed.key))
    await bench.world.until(
        "SELECT coalesce(sum((state->'recent'->>'replies')::integer), 0) >= 2"
        " AND sum((state->'recent'->>'failures')::integer) >= 1"
        " AND max(state->'recent'->>'latencies') <> '{}'"
        " FROM participant_state WHERE participant = 'inventory'"
    )
