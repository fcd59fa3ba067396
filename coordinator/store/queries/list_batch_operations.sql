-- list_batch_operations: a page of batch operations, newest first, from behind $1, in a state (null: any), of those that
-- somebody who knows the definitions $3 (null: all) may know of. They are few: they go after a month.
SELECT
    b.id::text AS id, b.verb, b.state, b.members::text AS members, b.filter::text AS filter, b.statuses, b.scope, b.rate,
    b.actor, b.reason, b.total, b.done, b.refused, b.failed,
    floor(extract(epoch FROM b.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM b.changed_at) * 1000)::bigint AS changed_ms,
    floor(extract(epoch FROM b.ended_at) * 1000)::bigint AS ended_ms
FROM batch_operation AS b
WHERE b.id < $1::uuid
    AND ($2::text IS NULL OR b.state = $2)
    AND ($3::text[] IS NULL OR b.scope <@ $3::text[])
ORDER BY b.id DESC
LIMIT $4
