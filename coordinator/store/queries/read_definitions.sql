-- read_definitions: the ids of all definitions ever registered.
SELECT id, name, version FROM saga_definition ORDER BY id
