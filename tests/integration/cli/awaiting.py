"""Routes that the coordinator does not have yet: a test that needs one runs as soon as its name is taken from here."""

from __future__ import annotations

import pytest

AWAITING: frozenset[str] = frozenset(
    {"preview", "bulk", "incidents", "dead letters", "audit", "keys", "whoami", "streams", "counts", "labels"}
)


def needs(*routes: str) -> pytest.MarkDecorator:
    """Mark a test that needs routes which may be awaited."""
    missing = sorted(AWAITING & set(routes))
    return pytest.mark.skipif(bool(missing), reason=f"awaits the routes of: {', '.join(missing)}")
