"""Settings that cannot work are refused before anything connects."""

from __future__ import annotations

import sys

import pytest
from aiokafka.record import util

from coordinator.errors import ConfigurationError
from coordinator.kafka import Security, require_extensions
from coordinator.kafka.connection import client_options


def test_the_extensions_are_there() -> None:
    """What is installed here has aiokafka's C extensions."""
    require_extensions()


def test_a_slow_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the C extensions, or with them switched off, nothing starts, and the sentence says what to do."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "aiokafka.record._crecords", None)
        with pytest.raises(ConfigurationError, match="binary wheel"):
            require_extensions()
    monkeypatch.setattr(util, "calc_crc32c", util.calc_crc32c_py)
    with pytest.raises(ConfigurationError, match="AIOKAFKA_NO_EXTENSIONS"):
        require_extensions()


def test_passwords_are_asked_for_and_kept_quiet() -> None:
    """SASL without a password is refused; a password never shows in a representation."""
    with pytest.raises(ConfigurationError, match="username and a password"):
        client_options("h:1", "c", Security(protocol="SASL_PLAINTEXT", username="u"))
    security = Security(protocol="SASL_PLAINTEXT", username="u", password="s3cret")
    assert client_options("h:1", "c", security)["sasl_plain_password"] == "s3cret"
    assert "s3cret" not in repr(security)


def test_certificates_are_looked_at(tmp_path: pytest.TempPathFactory) -> None:
    """A certificate file that cannot be read is named at once; TLS always verifies the broker."""
    with pytest.raises(ConfigurationError, match="certificate"):
        client_options("h:1", "c", Security(protocol="SSL", ca_file=f"{tmp_path}/absent.pem"))
    context = client_options("h:1", "c", Security(protocol="SSL"))["ssl_context"]
    assert context.check_hostname
