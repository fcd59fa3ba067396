"""How often somebody may ask."""

from __future__ import annotations

import time

from coordinator.api.limiting import Buckets


class Time:
    """A clock that a test moves."""

    now = 5.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    """After `burst` requests at once there is one each 1/rate seconds, and it is said when."""
    clock = Time()
    buckets = Buckets(10, 20, clock)
    assert [buckets.take("a") for _ in range(20)] == [0.0] * 20
    wait_s = buckets.take("a")
    assert 0 < wait_s <= 0.1
    clock.now += wait_s + 1e-9
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0
    clock.now += 1_000
    assert [buckets.take("a") for _ in range(20)] == [0.0] * 20
    assert buckets.take("a") > 0


def test_one_does_not_take_from_another() -> None:
    """Each name has a bucket of its own."""
    buckets = Buckets(1, 1, Time())
    assert buckets.take("a") == 0.0
    assert buckets.take("b") == 0.0
    assert buckets.take("a") > 0


def test_any_number_of_names_fits_into_bounded_memory() -> None:
    """Beyond the bound the name that asked longest ago is forgotten."""
    buckets = Buckets(1, 1, Time(), names_max=100)
    for number in range(10_000):
        buckets.take(str(number))
    assert len(buckets._levels) == 100
    assert buckets.take("9999") > 0


def test_no_rate_is_no_limit() -> None:
    """A rate of 0 lets everything through and remembers nobody."""
    buckets = Buckets(0, 1, Time())
    assert {buckets.take("a") for _ in range(10_000)} == {0.0}
    assert not buckets._levels


def test_a_limit_costs_microseconds() -> None:
    """Looking at a bucket takes a few microseconds, whoever asks."""
    buckets = Buckets(1_000, 2_000, time.monotonic)
    best_s = min(_timed(buckets) for _ in range(5))
    assert best_s / 10_000 < 20e-6


def _timed(buckets: Buckets) -> float:
    began = time.perf_counter()
    for number in range(10_000):
        buckets.take(f"key:{number % 100}")
    return time.perf_counter() - began
