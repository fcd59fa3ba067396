-- drop_batch_operations: forget the oldest batch operation that ended a month ago, with its sagas; the audit keeps what it
-- did. Answers how many went.
WITH old AS (
    DELETE FROM batch_operation
    WHERE id = (SELECT id FROM batch_operation WHERE ended_at < now() - interval '30 days' ORDER BY id LIMIT 1)
    RETURNING id
),
items AS (
    DELETE FROM batch_operation_item AS i USING old AS o WHERE i.operation_id = o.id
)
SELECT count(*)::integer AS operations FROM old
