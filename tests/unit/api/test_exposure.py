"""Nobody beyond this machine is served without a token unless somebody asked for it."""

from __future__ import annotations

import pytest

from coordinator import parts
from coordinator.api.access import Mode
from coordinator.api.listening import check_exposure
from coordinator.errors import ConfigurationError
from coordinator.settings import read_settings


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
    check_exposure(host, insecure=False, authenticated=True)


REQUIRED = {"SAGA_API__AUTHENTICATION": "required"}
OIDC = {
    "SAGA_OIDC__ISSUER": "https://sso.example.com",
    "SAGA_OIDC__AUDIENCE": "saga",
    "SAGA_OIDC__ROLES": '{"staff": "viewer"}',
}
BEYOND = {"SAGA_API__HOST": "0.0.0.0"}


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, Mode.LOOPBACK),
        (REQUIRED, Mode.REQUIRED),
        (OIDC, Mode.REQUIRED),
        ({"SAGA_API__INSECURE": "true"}, Mode.INSECURE),
        (BEYOND | REQUIRED, Mode.REQUIRED),
        (BEYOND | OIDC, Mode.REQUIRED),
        (BEYOND | {"SAGA_API__INSECURE": "true"}, Mode.INSECURE),
    ],
)
def test_the_settings_say_who_is_asked(settings: dict[str, str], mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default this machine is served; with a word, or an issuer, nobody without a token."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert parts.mode(read_settings()) is mode


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (REQUIRED | {"SAGA_API__INSECURE": "true"}, "SAGA_API__INSECURE: contradicts SAGA_API__AUTHENTICATION"),
        ({"SAGA_API__AUTHENTICATION": "insecure"}, "SAGA_API__AUTHENTICATION"),
        (
            {"SAGA_OIDC__ISSUER": "https://sso.example.com"},
            "SAGA_OIDC__AUDIENCE: is needed.*SAGA_OIDC__ROLES: is needed",
        ),
        (OIDC | {"SAGA_OIDC__ISSUER": "http://sso.example.com"}, "SAGA_OIDC__ISSUER: must be an https URL"),
        (OIDC | {"SAGA_OIDC__ISSUER": "https://ann:secret@sso.example.com"}, "SAGA_OIDC__ISSUER: must be"),
        (OIDC | {"SAGA_OIDC__JWKS_URL": "file:///etc/passwd"}, "SAGA_OIDC__JWKS_URL: must be"),
        (OIDC | {"SAGA_OIDC__JWKS_URL": "http://localhost.example.org/keys"}, "SAGA_OIDC__JWKS_URL: must be"),
        (OIDC | {"SAGA_OIDC__ROLES": '{"staff": "root"}'}, "SAGA_OIDC__ROLES"),
        (OIDC | {"SAGA_OIDC__ROLES": "staff"}, "SAGA_OIDC__ROLES: must be JSON"),
        ({"SAGA_API__RATE_PER_SECOND": "-1"}, "SAGA_API__RATE_PER_SECOND"),
    ],
)
def test_a_setting_that_lets_in_the_wrong_ones_is_named(
    settings: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contradictions, an issuer without an audience or roles, and places that cannot be trusted are refused by name."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=named) as refused:
        read_settings()
    assert "secret" not in str(refused.value)
