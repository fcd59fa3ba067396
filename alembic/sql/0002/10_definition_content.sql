-- A row is one content of a (name, version): the id that a saga carries says on which content it began, also when the
-- same version is given another content later. replaced_at is when that happened; content is null until a coordinator
-- that knows contents has filled it in.
ALTER TABLE saga_definition
    ADD COLUMN content bytea,
    ADD COLUMN content_hash bytea GENERATED ALWAYS AS (sha256(content)) STORED,
    ADD COLUMN replaced_at timestamptz,
    DROP CONSTRAINT a_definition_has_one_row_per_name_and_version,
    ADD CONSTRAINT a_content_has_one_row_per_name_and_version UNIQUE (name, version, content_hash)
