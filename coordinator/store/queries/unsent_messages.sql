-- unsent_messages: the sweeper's next page: messages of these partitions older than a moment, in key order.
-- The table is small unless Kafka was away; ids do not come in order of commit, so no position survives a sweep.
SELECT
    saga_id::text AS saga_id, saga_version, position, part, destination, partition, type, traceparent,
    payload, floor(extract(epoch FROM created_at) * 1000)::bigint AS created_ms
FROM outbox
WHERE part = ANY($1::smallint[])
    AND created_at < clock_timestamp() - $2::integer * interval '1 millisecond'
    AND (saga_id, saga_version, position) > ($3::uuid, $4::integer, $5::smallint)
ORDER BY saga_id, saga_version, position
LIMIT $6
