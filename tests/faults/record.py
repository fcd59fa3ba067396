"""What these tests measure, kept where SAGA_PROVE_RECORD says."""

from __future__ import annotations

from dataclasses import dataclass

from tests.figures import keep


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
    recovered_s = round(figure.recovered_s, 2)
    return keep({"fault": figure.fault, "recovered_s": recovered_s, "bound_s": figure.bound_s, "sagas": sagas})
