-- find_batch_operation: the batch operation that a confirmation began.
SELECT
    b.id::text AS id, b.verb, b.state, b.members::text AS members, b.filter::text AS filter, b.statuses, b.scope, b.rate,
    b.actor, b.reason, b.total, b.done, b.refused, b.failed,
    floor(extract(epoch FROM b.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM b.changed_at) * 1000)::bigint AS changed_ms,
    floor(extract(epoch FROM b.ended_at) * 1000)::bigint AS ended_ms
FROM batch_operation AS b
WHERE b.confirmation = $1
