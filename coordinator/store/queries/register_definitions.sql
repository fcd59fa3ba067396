-- register_definitions: give every (name, version) its small id; answers all of them.
INSERT INTO saga_definition (name, version)
SELECT * FROM unnest($1::text[], $2::smallint[])
ON CONFLICT DO NOTHING
