-- list_inputs: the inputs of these sagas, and of which definitions they are. Served by the primary key.
SELECT id::text AS id, definition_id, part, input FROM saga WHERE id = ANY($1::uuid[])
