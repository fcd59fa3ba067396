"""A server of its own for every test."""

from __future__ import annotations

import pytest

from tests.unit.remote.fake import Fake


@pytest.fixture
def fake() -> Fake:
    """Give a server that says nothing yet."""
    return Fake()
