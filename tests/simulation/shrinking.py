"""A run that breaks an invariant, made as small as it goes: with the fewest kinds of faults, and then fewer sagas."""

from __future__ import annotations

import msgspec

from tests.simulation.faults import RATES
from tests.simulation.run import Outcome, run
from tests.simulation.transcript import Transcript


class Smallest(msgspec.Struct, frozen=True):
    """The smallest run of a seed that was found to break the same invariant."""

    outcome: Outcome
    sagas: int
    faults: list[str]
    without: list[str]
    transcript: list[str]

    def __str__(self) -> str:
        """What to do with it, and what happened."""
        again = f"python -m tests.simulation --seed {self.outcome.seed} --sagas {self.sagas}"
        again += "".join(f" --without {name}" for name in self.without)
        lines = [f"{self.outcome.violation}", f"again: {again}", f"faults that it needs: {', '.join(self.faults)}"]
        return "\n".join([*lines, *self.transcript])


def shrink(broken: Outcome, sagas: int) -> Smallest:
    """Leave out what is not needed for a violation of the same invariant."""
    name = _invariant(broken)
    without: list[str] = [fault for fault in RATES if fault not in broken.faults]
    for fault in sorted(broken.faults, key=lambda one: broken.faults[one]):
        if _breaks(broken.seed, sagas, [*without, fault], name):
            without.append(fault)
    while sagas > 1 and _breaks(broken.seed, sagas // 2, without, name):
        sagas //= 2
    transcript = Transcript()
    outcome = run(broken.seed, sagas, without, transcript)
    lines = transcript.about(outcome.violation or "")
    return Smallest(outcome, sagas, sorted(set(RATES) - set(without)), without, lines)


def _breaks(seed: int, sagas: int, without: list[str], name: str) -> bool:
    return _invariant(run(seed, sagas, without)) == name


def _invariant(outcome: Outcome) -> str:
    """The name of the invariant that was broken, or the kind of error."""
    return " ".join((outcome.violation or "").split()[:2])
