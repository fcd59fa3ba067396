-- Lists by definition and status, newest first, of sagas that are at rest: ids are version 7 UUIDs, so their order is
-- that of creation. Those in progress are few, and saga_wake has them all.
CREATE INDEX saga_list ON saga (definition_id, resting, id) WHERE resting IS NOT NULL
