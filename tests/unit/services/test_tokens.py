"""What an API key looks like, and what is none."""

from __future__ import annotations

import re

import pytest

from coordinator.services import tokens

SCANNERS = r"saga_[0-9a-f]{8}_[A-Za-z0-9_-]{48}"


def test_a_token_is_recognised_by_its_look() -> None:
    """A new token fits the pattern of docs/roles.md, names its key's id, and is never the same."""
    made = {tokens.new_token() for _ in range(1_000)}
    assert len(made) == 1_000
    for token in made:
        assert re.fullmatch(SCANNERS, token)
        assert tokens.id_of(token) == token[5:13]
        assert tokens.ID.fullmatch(token[5:13])


def test_a_token_that_was_misspelt_is_none() -> None:
    """Whatever single character is another one, or missing, the checksum says so."""
    token = tokens.new_token()
    for place, character in enumerate(token):
        other = "a" if character != "a" else "b"
        assert tokens.id_of(token[:place] + other + token[place + 1 :]) is None, place
        assert tokens.id_of(token[:place] + token[place + 1 :]) is None


@pytest.mark.parametrize(
    "text", ["", "saga_", "saga_00000000_", "saga_0000000g_" + "A" * 48, "saga_00000000_" + "é" * 48]
)
def test_what_is_no_token_has_no_id(text: str) -> None:
    """Other text is no token, and harms nobody."""
    assert tokens.id_of(text) is None


def test_only_the_token_itself_matches_what_was_kept() -> None:
    """What is kept is 32 bytes that do not hold the token; another token does not match them."""
    token = tokens.new_token()
    kept = tokens.hash_of(token)
    assert len(kept) == 32
    assert tokens.matches(token, kept)
    assert not tokens.matches(tokens.new_token(), kept)
