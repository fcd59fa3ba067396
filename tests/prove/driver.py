"""Runs tiers one after the other, goes on where an earlier run was ended, and writes what came of it.

A record counts as long as nothing that its tier reads has changed; it names the commit at which it was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.prove.records import Record, Records, Revision
from tests.prove.report import render
from tests.prove.running import Runner, Say
from tests.prove.tiers import Tier


class Proof:
    """The tiers on one machine; `look` says what lies there now of what a tier reads."""

    def __init__(
        self,
        tiers: Sequence[Tier],
        records: Records,
        runner: Runner,
        look: Callable[[Tier], Revision],
        machine: Mapping[str, str | int],
        say: Say,
    ) -> None:
        self._tiers = tiers
        self._records = records
        self._runner = runner
        self._look = look
        self._machine = machine
        self._say = say

    def run(self, tiers: Sequence[Tier], *, again: bool = False) -> bool:
        """Run tiers in order, but those that have passed; the first that fails ends it. Says whether all passed."""
        began = time.monotonic()
        for number, tier in enumerate(tiers, 1):
            revision = self._look(tier)
            found = None if again else self._records.find(tier.name, revision)
            place = f"[{number}/{len(tiers)}, after {(time.monotonic() - began) / 60:.0f} min] {tier.name}"
            if found is not None and found.passed:
                self._say(f"{place}: passed already, at {found.began_at}, of {found.revision.words}")
                continue
            self._say(f"{place}: {tier.about}\n    {tier.command}")
            record = self._runner.run(tier, revision, self._machine)
            if record.passed and self._look(tier).content != revision.content:
                self._say(
                    f"{place}: what it reads has changed meanwhile, so nobody knows what was proven: run it again"
                )
                return False
            self._records.keep(record)
            self._tell(place, record)
            if not record.passed:
                self._point_at(tier, record)
                return False
        return True

    def write(self, file: Path) -> None:
        """Write the document from the records that count."""
        records = {tier.name: self._records.find(tier.name, self._look(tier)) for tier in self._tiers}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(render(self._tiers, records))
        self._say(f"written: {file}")

    def _tell(self, place: str, record: Record) -> None:
        for skip in record.skipped:
            self._say(f"    skipped: {skip.name}: {skip.reason}")
        verdict = "nothing of it could run" if record.empty else "passed" if record.passed else "FAILED"
        skips = f", {len(record.skipped)} skipped" if record.skipped else ""
        self._say(f"{place}: {verdict}{skips}, in {record.duration_s:.0f} s")

    def _point_at(self, tier: Tier, record: Record) -> None:
        how = "had to be ended" if record.exit_code is None else f"ended with {record.exit_code}"
        self._say(
            f"{tier.name} {how}. Its last lines:\n{self._runner.tail(tier)}\n"
            f"All of it: {self._runner.log(tier)}\nIt alone:  {tier.command}\n"
            f"The tiers before it keep their records while what they read stays: a further run begins with {tier.name}."
        )
