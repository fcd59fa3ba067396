"""Who may ask how often: a bucket of tokens for each name, in memory, for as many names as fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

NAMES_MAX: Final = 10_000


class Buckets:
    """Fills each name's bucket at a rate, up to `burst`; a rate of 0 means no limit.

    Where there are too many names the one that asked longest ago is forgotten, and begins anew with a full bucket.
    """

    def __init__(self, rate: float, burst: float, monotonic: Callable[[], float], names_max: int = NAMES_MAX) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._monotonic = monotonic
        self._names_max = names_max
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take a token; answers 0, or after how many seconds there will be one."""
        if not self._rate:
            return 0.0
        now = self._monotonic()
        level, at = self._levels.get(name, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._rate)
        taken = level >= 1
        self._levels[name] = (level - 1 if taken else level, now)
        self._levels.move_to_end(name)
        if len(self._levels) > self._names_max:
            self._levels.popitem(last=False)
        return 0.0 if taken else (1 - level) / self._rate
