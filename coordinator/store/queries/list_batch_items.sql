-- list_batch_items: a page of a batch operation's sagas, oldest first, from behind $2; with $3 those of an outcome, which is
-- 'left' for those that have none. Served by the primary key.
SELECT i.saga_id::text AS saga_id, i.version, i.version_after, coalesce(i.outcome, 'left') AS outcome, i.detail
FROM batch_operation_item AS i
WHERE i.operation_id = $1 AND i.saga_id > $2::uuid AND ($3::text IS NULL OR coalesce(i.outcome, 'left') = $3)
ORDER BY i.saga_id
LIMIT $4
