"""Fuzzes everything that reads what strangers send: `python -m tests.prove.fuzz [--minutes N] [--keep]`.

Hypothesis draws good records, and those that earlier runs found interesting; each is changed in a hundred ways. Only
`Refused` may come out of a decoder, and what one accepts must be written and read again as itself. An input is
interesting when it reaches a verdict that none before it has reached; --keep writes those to tests/prove/corpus, which
is checked in.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings

from deploy.local.stack import say_on_terminal as say
from tests.prove.decoding import Broken, look
from tests.prove.inputs import SAMPLES, Origin, family, origins
from tests.prove.kept import CORPUS, Corpus, Input

FAMILIES = 200  # of a round, after which the time is looked at
MEMBERS = 100
SHOWN_S = 10.0
MESSAGES = tuple(f"{decoder}: accepted" for decoder in ("inbound", "command", "event"))


class Fuzzing:
    """What has been tried so far."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.tried = 0
        self.accepted = 0
        self.verdicts: Counter[str] = Counter()

    def replay(self) -> None:
        """Try good records, and what earlier runs have kept; raises Broken."""
        for each in [*SAMPLES, *self._corpus.inputs()]:
            self.attempt(each)

    def play(self, number: int, families: int = FAMILIES) -> None:
        """Try the inputs that follow from a number; raises Broken."""

        @seed(number)
        @settings(
            max_examples=families,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
        )
        @given(origins(self._corpus.inputs()))
        def each(origin: Origin) -> None:
            for one in family(origin, MEMBERS):
                self.attempt(one)

        each()

    def attempt(self, one: Input) -> None:
        """Try one input; raises Broken."""
        self.tried += 1
        verdicts = look(one)
        self.accepted += any(verdict.startswith(MESSAGES) for verdict in verdicts)
        self.verdicts.update(verdicts)
        self._corpus.learn(one, verdicts)


def main() -> int:
    """Fuzz for a while; the last line says what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="the number of the first round; drawn where none is given")
    parser.add_argument("--keep", action="store_true", help="write what is interesting to tests/prove/corpus")
    arguments = parser.parse_args()
    number = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    corpus = Corpus(CORPUS)
    fuzzing = Fuzzing(corpus)
    known, began = len(corpus), time.monotonic()
    broken = _fuzz(fuzzing, number, began + arguments.minutes * 60)
    if broken is not None:
        say(f"broken: {broken}\nthe input: {broken.input.text()}")
    if arguments.keep:
        corpus.keep()
    figures = {
        "tier": "fuzz",
        "passed": broken is None,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "inputs": fuzzing.tried,
        "accepted": fuzzing.accepted,
        "verdicts": len(fuzzing.verdicts),
        "corpus": known,
        "interesting": len(corpus) - known,
        "seed": number,
    }
    say(json.dumps(figures))
    return 0 if broken is None else 1


def _fuzz(fuzzing: Fuzzing, number: int, until: float) -> Broken | None:
    """Play rounds until a moment; answers what was found to be broken."""
    shown = time.monotonic()
    try:
        fuzzing.replay()
        while time.monotonic() < until:
            fuzzing.play(number)
            number += 1
            if time.monotonic() - shown > SHOWN_S:
                shown = time.monotonic()
                say(f"round {number}: {fuzzing.tried} inputs, {fuzzing.accepted} accepted")
    except Broken as broken:
        say(f"in the round --seed {number}")
        return broken
    return None


if __name__ == "__main__":
    sys.exit(main())
