"""Where the demo's coordinator listens."""

from __future__ import annotations

import socket

import pytest

from deploy.demo import site
from deploy.local.processes import free_port


def test_the_usual_port_is_taken_only_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that stays up listens where the README says, unless somebody listens there already."""
    assert site.USUAL_PORT == 8080
    port = free_port()
    monkeypatch.setattr(site, "USUAL_PORT", port)
    assert site.usual_port() == port
    with socket.create_server(("127.0.0.1", port)):
        assert site.usual_port() is None
