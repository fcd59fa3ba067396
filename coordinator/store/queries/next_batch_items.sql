-- next_batch_items: sagas of a batch operation that have no outcome yet, in the order of their ids, from behind $2. Served
-- by the primary key.
SELECT saga_id::text AS saga_id, version
FROM batch_operation_item
WHERE operation_id = $1 AND saga_id > $2::uuid AND outcome IS NULL
ORDER BY saga_id
LIMIT $3
