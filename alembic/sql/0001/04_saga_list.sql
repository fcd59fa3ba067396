-- Lists by definition and status, newest first: ids are version 7 UUIDs, so their order is that of creation.
CREATE INDEX saga_list ON saga (definition_id, status, id)
