"""Whether one participant may be asked for anything new, and how fast: a circuit breaker with a ramp behind it.

    closed --so many timeouts in a row--> open --pause--> half open --silence or a timeout--> open, for longer
       ^--------------------------- any reply at all -------------------------------'

Silence is the only sign of death and any reply is one of life, a failure or a late one, too: a participant that says no
is there. Behind a breaker that closes, what was held is released on a ramp that grows as long as replies keep up.
"""

from __future__ import annotations

from enum import StrEnum

PROBES = 3  # actions that a half-open breaker lets through
LONGER_MAX = 8  # a pause grows to so many times its setting
WINDOW_MS = 1_000  # of a ramp: after each, its rate is set anew
UNLIMITED = 1 << 40


class BreakerState(StrEnum):
    """Whether a breaker lets new actions through; metrics show the position in this list."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Ramp:
    """A rate that doubles each second while replies keep up, and halves while they do not.

    So a participant that comes back gets what it can take, whatever waits for it: never less than the first rate.
    """

    def __init__(self, per_second: float, now_ms: int) -> None:
        self.rate = per_second
        self._lowest = per_second
        self._tokens = 1.0
        self._filled_ms = now_ms
        self._window_ms = now_ms
        self._taken = 0
        self._heard = 0

    def room(self, now_ms: int) -> int:
        """How many actions may be issued now."""
        if now_ms - self._window_ms >= WINDOW_MS:
            self._adjust()
            self._window_ms = now_ms
        passed_ms = min(max(0, now_ms - self._filled_ms), WINDOW_MS)
        self._filled_ms = now_ms
        # At most what a quarter of a second gives: what was not used does not come as one flood.
        self._tokens = min(self._tokens + self.rate * passed_ms / 1000, max(1.0, self.rate / 4))
        return int(self._tokens)

    def take(self) -> None:
        """An action was issued."""
        self._tokens -= 1
        self._taken += 1

    def give_back(self) -> None:
        """An action was not issued after all."""
        self._tokens += 1
        self._taken = max(0, self._taken - 1)

    def heard(self, replies: int) -> None:
        """The participant has answered."""
        self._heard += replies

    def _adjust(self) -> None:
        if self._taken and self._heard * 2 >= self._taken:
            self.rate *= 2
        elif self._heard * 4 < self._taken:
            self.rate = max(self._lowest, self.rate / 2)
        self._taken = self._heard = 0


class Breaker:
    """One participant's breaker; moments are the database's milliseconds.

    `timeouts_max` in a row open it, 0 means that nothing does. `since_ms` and `why` say when and why it came to be in
    its state.
    """

    def __init__(self, timeouts_max: int, pause_ms: int, per_second: float) -> None:
        self._timeouts_max = timeouts_max
        self._shortest_ms = self._pause_ms = pause_ms
        self._per_second = per_second
        self._until_ms = 0
        self._probes = 0
        self._turn = 0
        self.state = BreakerState.CLOSED
        self.since_ms: int | None = None
        self.why: str | None = None
        self.timeouts = 0
        self.ramp: Ramp | None = None

    def timed_out(self, now_ms: int) -> bool:
        """An action came to nothing, and nothing was heard of the participant since; answers whether that opens it."""
        self.timeouts += 1
        if self.state is BreakerState.CLOSED and 0 < self._timeouts_max <= self.timeouts:
            self._open(now_ms, f"{self.timeouts} timeouts in a row")
            return True
        if self.state is BreakerState.HALF_OPEN:
            self._open_again(now_ms)
        return False

    def heard(self, replies: int, now_ms: int) -> bool:
        """The participant has answered so many times; answers whether that closes it."""
        self.timeouts = 0
        if self.ramp is not None:
            self.ramp.heard(replies)
        if self.state is BreakerState.CLOSED:
            return False
        self._become(BreakerState.CLOSED, now_ms, "it has answered")
        self._pause_ms = self._shortest_ms
        self.climb(now_ms)
        return True

    def climb(self, now_ms: int) -> None:
        """Release on a ramp from now on, unless there is one already or nothing is to be released."""
        if self.state is BreakerState.CLOSED and self.ramp is None:
            self._turn += 1
            self.ramp = Ramp(self._per_second, now_ms)

    def level(self) -> None:
        """Nothing is held any more: the ramp has served."""
        if self.state is BreakerState.CLOSED:
            self.ramp = None

    def room(self, now_ms: int) -> int:
        """How many new actions may be issued now."""
        if self.state is BreakerState.CLOSED:
            return UNLIMITED if self.ramp is None else self.ramp.room(now_ms)
        if now_ms >= self._until_ms:
            if self.state is BreakerState.OPEN:
                self._become(BreakerState.HALF_OPEN, now_ms, "it is tried again")
                self._probes, self._until_ms = PROBES, now_ms + self._pause_ms
            elif self._probes < PROBES:
                self._open_again(now_ms)
            else:  # nobody was asked yet: the pause for an answer is still to come
                self._until_ms = now_ms + self._pause_ms
        return self._probes if self.state is BreakerState.HALF_OPEN else 0

    def take(self) -> int | None:
        """A new action is to be issued; answers what gives its room back, None where room is not counted."""
        if self.state is BreakerState.HALF_OPEN:
            self._probes -= 1
        elif self.ramp is not None:
            self.ramp.take()
        else:
            return None
        return self._turn

    def give_back(self, turn: int) -> None:
        """The action was not issued after all; `turn` is what `take` answered, of no worth when things have changed."""
        if turn != self._turn:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._probes += 1
        elif self.ramp is not None:
            self.ramp.give_back()

    def _open_again(self, now_ms: int) -> None:
        self._pause_ms = min(self._pause_ms * 2, self._shortest_ms * LONGER_MAX)
        self._open(now_ms, "it was tried again and did not answer")

    def _open(self, now_ms: int, why: str) -> None:
        self._become(BreakerState.OPEN, now_ms, why)
        self._until_ms = now_ms + self._pause_ms
        self.ramp = None

    def _become(self, state: BreakerState, now_ms: int, why: str) -> None:
        self._turn += 1
        self.state, self.since_ms, self.why = state, now_ms, why
