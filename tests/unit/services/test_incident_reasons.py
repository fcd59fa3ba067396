"""docs/incidents.md tells of every reason for which an incident opens how it is closed, and tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

from coordinator.saga.effects import IncidentReason
from coordinator.saga.observing import CONTRADICTION, NOT_REPLAYED, OVERDUE
from coordinator.services.incidents import BY_HAND

GUIDE = Path(__file__).parents[3] / "docs" / "incidents.md"


def test_every_reason_is_in_the_guide_with_what_closes_it() -> None:
    """The table has each reason once; `hand` stands beside those that a person can close at any time, and no other."""
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(rows) == {*IncidentReason, CONTRADICTION, NOT_REPLAYED, OVERDUE}
    assert {reason for reason, closed_by in rows.items() if closed_by == "hand"} == BY_HAND
