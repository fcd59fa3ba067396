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
    "commit_lost": 0.05,  # the statement is not executed, and the session is gone
    "commit_unheard": 0.06,  # it is committed, and the answer is lost
    "contended": 0.03,  # a lock was not to be had in time
    "query_lost": 0.02,  # any other statement: not executed, or its answer lost
    "query_unheard": 0.02,
    "database_slow": 0.03,
    "database_away": 0.5,  # things that happen once a while have a rate per minute
    "database_clock": 0.3,
    # the broker
    "publish_lost": 0.04,
    "publish_unheard": 0.05,
    "publish_twice": 0.03,
    "broker_slow": 0.03,
    "broker_away": 0.5,
    "tail_lost": 0.3,
    "fetch_failed": 0.02,
    "offsets_unknown": 0.03,
    "offset_commit_unheard": 0.05,
    # the group and its members
    "rebalance": 2.0,
    "kill": 1.5,
    "kill_at_await": 0.0008,
    "pause": 1.0,
    # participants
    "reply_lost": 0.05,
    "reply_late": 0.05,
    "reply_twice": 0.05,
    "reply_delayed": 0.05,
    "command_again": 0.05,
    "refusal": 0.06,
    "not_now": 0.06,
    "undo_fails": 0.1,
    "lie": 0.03,  # a second, other answer to what was answered already
    "participant_away": 0.7,
    # others who write to the reply topic
    "junk": 0.1,
    "start_twice": 0.1,
    "verb": 0.05,
    "verb_twice": 0.3,
}
PER_MINUTE = frozenset(
    {
        "database_away",
        "database_clock",
        "broker_away",
        "tail_lost",
        "rebalance",
        "kill",
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

    @property
    def on(self) -> list[str]:
        """The names of those that can happen."""
        return [name for name, rate in self.rates.items() if rate]

    def heal(self) -> None:
        """From now on everything works."""
        self.healed = True
