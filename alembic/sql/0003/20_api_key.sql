-- Keys of programs and people. Of the secret only its SHA-256 is kept; it is random, so that needs no salt. At most two
-- keys of one name are valid, the old one and its successor: each valid key has one of its name's two places.
CREATE TABLE api_key (
    id text CONSTRAINT a_key_is_known_by_its_id PRIMARY KEY,
    name text NOT NULL,
    place smallint,
    secret_hash bytea NOT NULL,
    role text NOT NULL,
    definitions text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    revoked_because text,
    last_used_at timestamptz,
    CONSTRAINT at_most_two_keys_of_a_name_are_valid UNIQUE (name, place),
    CONSTRAINT a_name_has_two_places_for_keys CHECK (place IN (1, 2)),
    CONSTRAINT a_key_that_never_ends_has_a_place CHECK (num_nonnulls(place, expires_at, revoked_at) > 0),
    CONSTRAINT a_revoked_key_has_no_place CHECK (revoked_at IS NULL OR place IS NULL),
    CONSTRAINT a_key_has_an_id_of_eight_digits CHECK (id ~ '^[0-9a-f]{8}$'),
    CONSTRAINT a_key_has_a_plain_name CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    CONSTRAINT a_secret_is_kept_as_its_sha256 CHECK (length(secret_hash) = 32),
    CONSTRAINT a_role_is_a_word_of_the_dictionary CHECK (role IN ('viewer', 'operator', 'admin', 'service')),
    CONSTRAINT an_administrator_knows_all_definitions CHECK (role <> 'admin' OR definitions IS NULL),
    CONSTRAINT a_revoked_key_says_by_whom_and_why CHECK (
        num_nonnulls(revoked_at, revoked_by, revoked_because) IN (0, 3) AND length(btrim(revoked_because)) > 0)
)
