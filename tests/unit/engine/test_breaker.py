"""A participant that is silent is left alone, and one that comes back is not flooded."""

from __future__ import annotations

from coordinator.engine.breaker import LONGER_MAX, PROBES, UNLIMITED, Breaker, BreakerState, Ramp

PAUSE_MS = 10_000
RATE = 50.0


def opened(at_ms: int = 0) -> Breaker:
    """A breaker that three timeouts have just opened."""
    breaker = Breaker(3, PAUSE_MS, RATE)
    assert [breaker.timed_out(at_ms) for _ in range(3)] == [False, False, True]
    return breaker


def take_all(breaker: Breaker, now_ms: int) -> int:
    """Issue whatever there is room for."""
    taken = 0
    while breaker.room(now_ms) > 0:
        breaker.take()
        taken += 1
    return taken


def test_so_many_timeouts_in_a_row_open_it() -> None:
    """From then on nothing new is issued, and it says since when and why."""
    breaker = opened(5_000)
    assert breaker.room(5_000) == 0
    assert (breaker.state, breaker.since_ms, breaker.why) == (BreakerState.OPEN, 5_000, "3 timeouts in a row")


def test_any_reply_in_between_starts_the_count_anew() -> None:
    """A participant that answers now and then is slow, not gone."""
    breaker = Breaker(3, PAUSE_MS, RATE)
    for _ in range(10):
        assert not breaker.timed_out(0)
        assert not breaker.timed_out(0)
        breaker.heard(1, 0)
    assert breaker.room(0) == UNLIMITED


def test_zero_never_opens() -> None:
    """Whoever sets no number of timeouts wants no breaker."""
    breaker = Breaker(0, PAUSE_MS, RATE)
    assert not any(breaker.timed_out(0) for _ in range(1_000))
    assert breaker.room(0) == UNLIMITED


def test_after_its_pause_a_few_are_let_through() -> None:
    """It is tried with no more than a few actions, however many wait."""
    breaker = opened()
    assert breaker.room(PAUSE_MS - 1) == 0
    assert take_all(breaker, PAUSE_MS) == PROBES
    assert breaker.state is BreakerState.HALF_OPEN


def test_a_probe_that_times_out_opens_it_for_longer() -> None:
    """Each try in vain doubles the pause, up to a bound."""
    breaker, now_ms, pauses = opened(), 0, []
    for _ in range(8):
        since_ms = now_ms
        while take_all(breaker, now_ms) == 0:
            now_ms += 1_000
        pauses.append(now_ms - since_ms)
        breaker.timed_out(now_ms)
        assert breaker.room(now_ms) == 0
    assert pauses[:4] == [PAUSE_MS, 2 * PAUSE_MS, 4 * PAUSE_MS, 8 * PAUSE_MS]
    assert set(pauses[4:]) == {LONGER_MAX * PAUSE_MS}


def test_probes_that_nobody_answers_open_it_even_before_they_time_out() -> None:
    """A step may have a timeout of hours: silence for the length of the pause is enough."""
    breaker = opened()
    take_all(breaker, PAUSE_MS)
    assert breaker.room(2 * PAUSE_MS) == 0
    assert breaker.state is BreakerState.OPEN


def test_it_stays_half_open_when_there_is_nothing_to_try_it_with() -> None:
    """Without a probe silence says nothing."""
    breaker = opened()
    for minute in range(1, 60):
        assert breaker.room(PAUSE_MS + minute * 60_000) == PROBES


def test_a_probe_has_time_for_its_answer_however_late_it_is_sent() -> None:
    """Nothing waited for an hour: all probes may go then, and silence counts from there."""
    breaker = opened()
    assert breaker.room(PAUSE_MS) == PROBES
    assert take_all(breaker, 3_600_000) == PROBES
    assert breaker.room(3_600_000 + PAUSE_MS - 1) == 0
    assert breaker.since_ms == PAUSE_MS
    assert breaker.room(3_600_000 + PAUSE_MS) == 0
    assert (breaker.state, breaker.since_ms) == (BreakerState.OPEN, 3_600_000 + PAUSE_MS)


def test_probes_that_were_not_sent_after_all_are_given_back() -> None:
    """Nobody was asked, so that silence says nothing: it stays half open, and may be tried as often as before."""
    breaker = opened()
    assert breaker.room(PAUSE_MS) == PROBES
    for turn in [breaker.take() for _ in range(PROBES)]:
        assert turn is not None
        breaker.give_back(turn)
    assert breaker.room(3 * PAUSE_MS) == PROBES
    assert breaker.state is BreakerState.HALF_OPEN


def test_what_a_ramp_gave_is_given_back_to_the_same_ramp_only() -> None:
    """An action that was not issued leaves its room to another; one that comes back too late leaves none."""
    breaker = opened()
    assert breaker.room(PAUSE_MS) == PROBES
    probe = breaker.take()
    breaker.heard(1, PAUSE_MS)
    assert breaker.room(PAUSE_MS) == 1
    released = breaker.take()
    assert probe is not None
    assert released is not None
    breaker.give_back(probe)
    assert breaker.room(PAUSE_MS) == 0
    breaker.give_back(released)
    assert breaker.room(PAUSE_MS) == 1


def test_an_open_road_counts_nothing() -> None:
    """Without a breaker's objection there is nothing to give back."""
    assert Breaker(3, PAUSE_MS, RATE).take() is None


def test_a_reply_closes_it_and_begins_a_ramp() -> None:
    """Open or half open, a sign of life is enough; what was held comes slowly at first."""
    for tried in (False, True):
        breaker = opened()
        if tried:
            take_all(breaker, PAUSE_MS)
        assert breaker.heard(1, PAUSE_MS)
        assert breaker.state is BreakerState.CLOSED
        assert take_all(breaker, PAUSE_MS) <= RATE / 4


def test_a_ramp_grows_with_the_replies() -> None:
    """A participant that keeps up gets twice as much each second."""
    ramp = Ramp(RATE, 0)
    released = [_second(ramp, second, answers=1.0) for second in range(6)]
    for second, count in enumerate(released):
        assert count <= RATE * 2**second + 1
    assert released[5] > 20 * released[0]


def test_a_ramp_does_not_outrun_a_participant() -> None:
    """One that can take a hundred a second never gets much more, however many wait; one that is silent gets least."""
    ramp = Ramp(RATE, 0)
    released = [_second(ramp, second, at_most=100) for second in range(20)]
    assert max(released) <= 4 * 100
    silent = [_second(ramp, second, at_most=0) for second in range(20, 30)]
    assert silent[-1] <= RATE + 1


def test_what_was_not_released_does_not_come_as_one_flood() -> None:
    """A ramp that nobody used for an hour gives a quarter of a second's worth."""
    ramp = Ramp(RATE, 0)
    assert ramp.room(3_600_000) <= RATE / 4


def test_a_ramp_ends_when_nothing_is_held() -> None:
    """Then everything goes straight through again."""
    breaker = opened()
    breaker.heard(1, 0)
    breaker.level()
    assert breaker.room(0) == UNLIMITED


def _second(ramp: Ramp, second: int, answers: float = 1.0, at_most: int | None = None) -> int:
    """Take what a ramp gives within a second, and answer; says how much that was."""
    taken = 0
    for tick in range(20):
        now_ms = second * 1_000 + tick * 50
        room = ramp.room(now_ms)
        for _ in range(room):
            ramp.take()
        taken += room
        ramp.heard(int(room * answers) if at_most is None else min(room, at_most // 20))
    return taken
