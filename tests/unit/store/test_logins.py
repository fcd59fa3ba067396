"""Whom a database's URL names, wherever in the URL it stands."""

from __future__ import annotations

import pytest

from coordinator.errors import ConfigurationError
from coordinator.store.roles import Login, login_of


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("postgresql://app:secret@db:5432/saga", Login("app", "secret")),
        ("postgresql://a%40b:s%2Fcr%3At@db/saga", Login("a@b", "s/cr:t")),
        ("postgresql://app@db/saga", Login("app", None)),
        ("postgresql://db/saga", Login(None, None)),
        ("postgresql:///saga?host=/run&user=app&password=s%26t", Login("app", "s&t")),
        ("postgresql://one:two@db/saga?user=app&password=secret", Login("app", "secret")),
    ],
)
def test_role_and_password_are_read_from_a_url(url: str, login: Login) -> None:
    """Percent-encoded in front of the host, or as parameters, which come first."""
    assert login_of(url) == login


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    """The error names the setting, and shows nothing of what may be a password."""
    with pytest.raises(ConfigurationError, match="SAGA_DATABASE__URL") as refusal:
        login_of("postgresql://app:s[ecret@db/saga")
    assert "ecret" not in str(refusal.value)
