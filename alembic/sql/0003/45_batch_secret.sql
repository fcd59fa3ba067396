-- The secret that seals confirmations: the same for all processes of an installation.
CREATE TABLE batch_secret (
    one boolean NOT NULL DEFAULT true,
    secret bytea NOT NULL,
    CONSTRAINT an_installation_has_one_batch_secret PRIMARY KEY (one),
    CONSTRAINT there_is_one_batch_secret_only CHECK (one),
    CONSTRAINT a_batch_secret_is_long_enough CHECK (octet_length(secret) >= 32)
)
