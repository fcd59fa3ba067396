"""What these tests measure, kept where SAGA_PROVE_RECORD says."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

# Taken out of the environment: a coordinator refuses to start with a setting that it does not know.
_FILE = os.environ.pop("SAGA_PROVE_RECORD", None)


@dataclass(frozen=True)
class Figure:
    """How long sagas stood still because of a fault, and how long they may, in seconds."""

    fault: str
    recovered_s: float
    bound_s: float

    @property
    def kept(self) -> bool:
        """Whether the bound was kept."""
        return self.recovered_s <= self.bound_s


def record(figure: Figure, sagas: int) -> str:
    """Append a figure to the file, if there is one; answers the line."""
    facts = {
        "fault": figure.fault,
        "recovered_s": round(figure.recovered_s, 2),
        "bound_s": figure.bound_s,
        "sagas": sagas,
    }
    line = json.dumps(facts)
    if _FILE is not None:
        with Path(_FILE).open("a") as file:
            file.write(line + "\n")
    return line
