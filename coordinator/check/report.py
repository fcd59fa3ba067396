"""Search one definition and say what was found: numbers, bounds, warnings, and a counterexample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from coordinator.check.search import Search
from coordinator.check.shrink import ATTEMPTS, REDRIVES
from coordinator.check.transcript import INDENT, transcript
from coordinator.check.warnings import warnings
from coordinator.saga.definition import SagaDefinition

PROVEN = (
    "each way ends completed, failed with nothing left done that can be undone, or suspended with an owner;"
    " undo is in strict reverse order; an end can be reached from everywhere"
)
BOUNDS = (
    f"at most {ATTEMPTS} attempts before a budget ends, and {REDRIVES} more by recovery",
    "conditions and payloads are choices (yes, no, broken), not the functions of the definition",
    "participants remember their final answers and leave tombstones",
    "operators may do anything as often as they like, say the truth, and leave out one step at most",
    "flow control holds back everything or nothing; how long anything takes is not counted",
    "what changes nothing is tried once for each state of its step and each status of the saga",
)


@dataclass(frozen=True)
class Report:
    """What a search found; `broken` is the promise that does not hold, and `counterexample` the way that shows it."""

    definition: SagaDefinition
    states: int
    transitions: int
    warnings: tuple[str, ...]
    broken: str | None
    counterexample: str

    def lines(self, seconds: float) -> Iterator[str]:
        """Write it for people."""
        named = f"{self.definition.name} version {self.definition.version}"
        yield f"{named}: OK" if self.broken is None else f"{named}: REFUTED: {self.broken}"
        yield f"{INDENT}{self.states:,} states, {self.transitions:,} transitions, {seconds:.1f} s"
        yield from (f"{INDENT}warning: {sentence}" for sentence in self.warnings)
        if self.counterexample:
            yield ""
            yield from self.counterexample.splitlines()


def check(definition: SagaDefinition, tell: Callable[[int, int], None] = lambda _states, _transitions: None) -> Report:
    """Search a definition; `tell` hears of states and transitions on the way."""
    search = Search(definition)
    found = search.run(tell)
    broken, way = (None, []) if found is None else found
    return Report(
        definition,
        search.worlds,
        search.transitions,
        tuple(warnings(definition)),
        broken,
        transcript(search.machine.definition, search.machine.sagas.met, way),
    )
