"""Which faults a run has and how often: each seed makes its own swarm of them, and counts what it did.

A fault is a name and, per chance to happen, a probability. Most are off in any one run, so that rare combinations come
to the fore; what is on has a rate of its own.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator

OFF = 0.4  # the share of faults that a run does without

RATES: dict[str, float] = {
    # the database
    "commit_lost": 0.12,  # the statement is not executed, and the session is gone
    "commit_unheard": 0.18,  # it is committed, and the answer is lost
    "commit_late": 0.08,  # the session is gone, and the server executes the statement some seconds later
    "contended": 0.1,  # a lock was not to be had in time
    "query_lost": 0.07,  # any other statement: not executed, or its answer lost
    "query_unheard": 0.07,
    "query_late": 0.05,
    "database_slow": 0.08,
    "database_away": 3.0,  # things that happen once a while have a rate per minute
    "database_clock": 1.0,
    # the broker
    "publish_lost": 0.14,
    "publish_unheard": 0.18,
    "publish_twice": 0.16,
    "broker_slow": 0.08,
    "broker_away": 3.0,
    "tail_lost": 2.0,
    "fetch_failed": 0.08,
    "offsets_unknown": 0.1,
    "offset_commit_unheard": 0.3,
    # the group and its members
    "rebalance": 9.0,
    "kill": 8.0,
    "stop": 5.0,
    "kill_at_await": 0.0015,
    "pause": 10.0,
    # participants
    "reply_lost": 0.15,
    "reply_late": 0.2,
    "reply_twice": 0.4,
    "reply_delayed": 0.3,
    "command_again": 0.2,
    "command_overtaken": 0.1,
    "refusal": 0.15,
    "not_now": 0.18,
    "undo_fails": 0.25,
    "lie": 0.15,  # a second, other answer to what was answered already
    "participant_away": 3.0,
    # performers of choreographies
    "event_lost": 0.15,
    "event_late": 0.2,
    "event_twice": 0.2,
    # others who write to the reply topic
    "junk": 0.6,
    "start_twice": 0.4,
    "verb": 0.5,
    "verb_twice": 0.4,
}
PER_MINUTE = frozenset(
    {
        "database_away",
        "database_clock",
        "broker_away",
        "tail_lost",
        "rebalance",
        "kill",
        "stop",
        "pause",
        "participant_away",
    }
)


class Faults:
    """The faults of one run; after `heal` there are none. `without` names those that a shortened run leaves out."""

    def __init__(self, chance: random.Random, without: Collection[str] = (), least: float = 0.2) -> None:
        self._chance = chance
        self.healed = False
        self.counts: Counter[str] = Counter()
        self.tell: Callable[[str], None] | None = None  # hears of each, for a transcript
        self.rates: dict[str, float] = {}
        for name, most in RATES.items():
            is_off, share = chance.random() < OFF, chance.uniform(least, 1.0)
            self.rates[name] = 0.0 if is_off or name in without else most * share

    def happens(self, name: str) -> bool:
        """Whether a fault happens now."""
        rate = self.rates[name]
        # The dice are thrown in any case: a run without one fault is otherwise the run that it was.
        if self._chance.random() >= rate or self.healed or not rate:
            return False
        self.count(name)
        return True

    def count(self, name: str) -> None:
        """A fault happens."""
        self.counts[name] += 1
        if self.tell is not None:
            self.tell(name)

    def moments(self, name: str, until_s: float) -> Iterator[float]:
        """When a fault with a rate per minute happens, in seconds from the beginning."""
        chance = random.Random(self._chance.random())
        rate = self.rates[name] / 60
        at = 0.0
        while rate:
            at += chance.expovariate(rate)
            if at >= until_s:
                return
            yield at

    def heal(self) -> None:
        """From now on everything works."""
        self.healed = True
