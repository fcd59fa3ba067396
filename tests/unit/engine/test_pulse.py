"""How a participant does of late: what is counted, for how long, and how well latencies are kept."""

from __future__ import annotations

import random

import pytest

from coordinator.engine.flow import Flow
from coordinator.engine.pulse import SLOT_MS, SLOTS, Pulse, Recent, added, quantile_ms, size_of
from coordinator.settings import FlowSettings

NOW_MS = 1_800_000_000_000
SAGA = "0198c0de-0000-7000-8000-000000000001"


def test_what_came_of_actions_is_counted() -> None:
    """Replies, failures and timeouts are told apart, and latencies are kept where they can be told."""
    pulse = Pulse()
    pulse.answered(NOW_MS, [100], failed=False)
    pulse.answered(NOW_MS, [None], failed=True)
    pulse.timed_out(NOW_MS)
    assert pulse.recent(NOW_MS) == Recent(2, 1, 1, {size_of(100): 1})


def test_what_is_long_ago_is_forgotten() -> None:
    """Only the last five minutes count, and however long it goes on no more than they are kept."""
    pulse = Pulse()
    for minute in range(60):
        pulse.answered(NOW_MS + minute * 60_000, [10], failed=False)
    last = NOW_MS + 59 * 60_000
    assert pulse.recent(last).replies == SLOTS * SLOT_MS // 60_000
    assert pulse.recent(last + SLOTS * SLOT_MS) == Recent()


def test_a_clock_that_goes_back_loses_nothing() -> None:
    """What comes with an earlier moment than what came before counts as well."""
    pulse = Pulse()
    for moment in (NOW_MS, NOW_MS - 60_000):
        pulse.answered(moment, [10], failed=False)
    assert pulse.recent(NOW_MS).replies == 2


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_quantiles_are_off_by_an_eighth_at_most(share: float) -> None:
    """A quantile is never below the true one, and at most an eighth above it."""
    rolls = random.Random(4711)
    latencies = [int(10 ** rolls.uniform(0, 6)) for _ in range(5_000)]
    kept = added(Recent(1, 0, 0, {size_of(latency): 1}) for latency in latencies).latencies
    true = sorted(latencies)[int(share * len(latencies)) - 1]
    found = quantile_ms(kept, share)
    assert found is not None
    assert true <= found <= true * 1.125 + 1


def test_of_nothing_there_is_no_quantile() -> None:
    """Where no participant has answered there is no latency, and one that would be negative is none at all."""
    assert quantile_ms({}, 0.5) is None
    assert quantile_ms({size_of(-5): 1}, 0.99) == 0


def test_flow_keeps_the_pulse_of_each_participant() -> None:
    """Answers and timeouts count for the participant that they are of, and for no stranger."""
    flow = Flow(FlowSettings(), ["inventory", "payment"])
    flow.answered("inventory", NOW_MS, [8], failed=False)
    flow.answered("stranger", NOW_MS, [8], failed=True)
    flow.timed_out(["payment", "stranger"], NOW_MS)
    assert flow.pulses(NOW_MS) == {"inventory": Recent(1, 0, 0, {8: 1}), "payment": Recent(0, 0, 1, {})}
