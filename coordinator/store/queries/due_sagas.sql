-- due_sagas: ids of sagas of these partitions that wake before a moment. Served by saga_wake.
SELECT id::text AS id
FROM saga
WHERE wake_at IS NOT NULL AND part = ANY($1::smallint[])
    AND wake_at < to_timestamp($2::bigint::double precision / 1000)
ORDER BY wake_at
LIMIT $3
