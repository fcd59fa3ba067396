-- Every (name, version) that a coordinator ever loaded; sagas are pinned to one of them by its small id.
CREATE TABLE saga_definition (
    id smallint GENERATED ALWAYS AS IDENTITY CONSTRAINT a_definition_is_known_by_its_small_id PRIMARY KEY,
    name text NOT NULL,
    version smallint NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT a_definition_has_one_row_per_name_and_version UNIQUE (name, version),
    CONSTRAINT definition_versions_count_from_one CHECK (version >= 1)
)
