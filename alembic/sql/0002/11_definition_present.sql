-- Of all contents that a (name, version) ever had, one is the present one.
CREATE UNIQUE INDEX a_version_has_one_present_content ON saga_definition (name, version) WHERE replaced_at IS NULL
