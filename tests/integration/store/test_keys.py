"""API keys in Postgres: what must be true of them, whoever writes, and that no key changes without its audit row."""

from __future__ import annotations

import asyncpg
import pytest

from coordinator.services import tokens
from coordinator.services.keys import Keys
from coordinator.store.keys import KeyStore, NewKey
from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore

INSERT = (
    "INSERT INTO api_key (id, name, place, secret_hash, role, created_by, definitions, revoked_at, revoked_by,"
    " revoked_because) VALUES ($1, $2, $3, $4, $5, 'ann', $6, $7::timestamptz, $8, $9)"
)
FINE = ("00000001", "fine", 1, b"x" * 32, "viewer", None, None, None, None)

# Which of the values is wrong, and how -> the constraint that refuses it, by its name.
BROKEN: dict[str, dict[int, object]] = {
    "a_key_is_known_by_its_id": {0: "00000000"},
    "at_most_two_keys_of_a_name_are_valid": {1: "taken"},
    "a_name_has_two_places_for_keys": {2: 3},
    "a_key_that_never_ends_has_a_place": {2: None},
    "a_key_has_an_id_of_eight_digits": {0: "short"},
    "a_key_has_a_plain_name": {1: "key:x"},
    "a_secret_is_kept_as_its_sha256": {3: b"hunter2"},
    "a_role_is_a_word_of_the_dictionary": {4: "root"},
    "an_administrator_knows_all_definitions": {4: "admin", 5: ["Order"]},
    "a_revoked_key_says_by_whom_and_why": {7: "ann"},
}


async def test_what_must_be_true_of_keys_is_a_sentence(fresh_database: str) -> None:
    """A row that must not be is refused by the constraint that says why; the same row without the fault is taken."""
    await migrate(fresh_database)
    connection = await asyncpg.connect(fresh_database)
    try:
        await connection.execute(INSERT, *_changed({0: "00000000", 1: "taken"}))
        for name, changes in BROKEN.items():
            with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
                await connection.execute(INSERT, *_changed(changes))
            assert refused.value.constraint_name == name
        await connection.execute(INSERT, *FINE)
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await connection.execute(
                "UPDATE api_key SET revoked_at = now(), revoked_by = 'ann', revoked_because = 'lost'"
            )
        assert refused.value.constraint_name == "a_revoked_key_has_no_place"
    finally:
        await connection.close()


async def test_no_key_without_its_audit_row(fresh_database: str) -> None:
    """Where the audit row cannot be written a key is neither made nor ended."""
    await migrate(fresh_database)
    store = PostgresStore(fresh_database)
    keys = KeyStore(store)
    try:
        made = await Keys(keys).create("fine", "viewer", "ann", "it is needed", "r-1")
        await store.run(
            lambda connection: connection.execute("ALTER TABLE audit_log ADD CONSTRAINT nobody CHECK (actor <> 'eve')")
        )
        token = tokens.new_token()
        new = NewKey(str(tokens.id_of(token)), "other", tokens.hash_of(token), "viewer")
        with pytest.raises(asyncpg.CheckViolationError):
            await keys.create(new, "eve", "it is needed", "")
        with pytest.raises(Exception, match="nobody"):
            await keys.revoke(made.key.id, "eve", "it is lost", "")
        assert await keys.get(new.id) is None
        assert [key.state for key in await keys.page("", 10)] == ["valid"]
    finally:
        await store.stop()


def _changed(changes: dict[int, object]) -> list[object]:
    return [changes.get(place, value) for place, value in enumerate(FINE)]
