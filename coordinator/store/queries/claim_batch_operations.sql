-- claim_batch_operations: become the one who does these: at most $2 that run and that nobody does. Served by
-- batch_operation_running.
WITH free AS (
    SELECT id FROM batch_operation
    WHERE state = 'running' AND (owned_until IS NULL OR owned_until < now())
    ORDER BY id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE batch_operation AS b
SET owner = $1, owned_until = now() + interval '10 seconds'
FROM free
WHERE b.id = free.id
RETURNING
    b.id::text AS id, b.verb, b.state, b.members::text AS members, b.filter::text AS filter, b.statuses, b.scope, b.rate,
    b.actor, b.reason, b.total, b.done, b.refused, b.failed,
    floor(extract(epoch FROM b.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM b.changed_at) * 1000)::bigint AS changed_ms,
    floor(extract(epoch FROM b.ended_at) * 1000)::bigint AS ended_ms
