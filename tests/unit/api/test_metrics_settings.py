"""Where the metrics are, and who may scrape them, is set with words that are checked before anything is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.errors import ConfigurationError
from coordinator.settings import read_settings


def test_they_are_on_loopback_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is 9464 on loopback, nobody needs a token, and another host needs no more than its name."""
    settings = read_settings().metrics
    assert (settings.host, settings.port, settings.token) == ("127.0.0.1", 9464, None)
    monkeypatch.setenv("SAGA_METRICS__HOST", "0.0.0.0")
    assert read_settings().metrics.insecure


def test_a_token_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What stands around the token in the file does not belong to it."""
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    monkeypatch.setenv("SAGA_METRICS__TOKEN_FILE", str(file))
    assert read_settings().metrics.token == b"0123456789abcdef"


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("short", "shorter than 16")])
def test_a_token_that_guards_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, said: str
) -> None:
    """A file that is missing or holds hardly anything ends the process, with the setting's name."""
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("SAGA_METRICS__TOKEN_FILE", str(file))
    with pytest.raises(ConfigurationError, match=f"SAGA_METRICS__TOKEN_FILE.*{said}"):
        read_settings()
