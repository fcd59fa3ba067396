-- What all processes of an installation share: the secret that seals cursors and confirmations.
CREATE TABLE installation (
    one boolean NOT NULL DEFAULT true,
    secret bytea NOT NULL,
    CONSTRAINT an_installation_has_one_row PRIMARY KEY (one),
    CONSTRAINT there_is_one_installation_only CHECK (one),
    CONSTRAINT an_installation_has_a_secret_that_is_long_enough CHECK (octet_length(secret) >= 32)
)
