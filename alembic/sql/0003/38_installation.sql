-- What all processes of an installation share: the secret that seals cursors.
CREATE TABLE installation (
    one boolean NOT NULL DEFAULT true,
    cursor_secret bytea NOT NULL,
    CONSTRAINT an_installation_has_one_row PRIMARY KEY (one),
    CONSTRAINT there_is_one_installation_only CHECK (one),
    CONSTRAINT a_cursor_secret_is_long_enough CHECK (octet_length(cursor_secret) >= 32)
)
