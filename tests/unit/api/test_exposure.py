"""Nobody beyond this machine is served unless somebody asked for it."""

from __future__ import annotations

import pytest

from coordinator.api.listening import check_exposure
from coordinator.errors import ConfigurationError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_always_fine(host: str) -> None:
    """Loopback addresses need no consent."""
    check_exposure(host, insecure=False)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "",
        "10.0.0.5",
        "example.org",
        "localhost.example.org",
        "127.0.0.1.nip.io",
        "127.1",
        "2130706433",
    ],
)
def test_anything_else_needs_consent(host: str) -> None:
    """Any other address is refused with the setting that would allow it, and taken with `insecure`."""
    with pytest.raises(ConfigurationError, match="SAGA_API__INSECURE"):
        check_exposure(host, insecure=False)
    check_exposure(host, insecure=True)
