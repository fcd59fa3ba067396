"""What the commands over the API read from the environment, and a coordinator's own settings, stand side by side."""

from __future__ import annotations

import pytest

from coordinator.errors import ConfigurationError
from coordinator.settings import read_settings


def test_a_coordinator_leaves_the_variables_of_the_commands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """These three and no others: what only begins like them may be a slip of the pen."""
    for name in ("SAGA_URL", "SAGA_KEY", "SAGA_CONFIG"):
        monkeypatch.setenv(name, "anything")
    assert read_settings().topic_prefix
    monkeypatch.setenv("SAGA_KEYS", "x")
    with pytest.raises(ConfigurationError, match="SAGA_KEYS"):
        read_settings()
