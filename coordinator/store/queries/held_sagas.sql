-- held_sagas: the oldest sagas of these partitions that queue for a participant.
SELECT saga_id::text AS id
FROM held_step
WHERE participant = $1 AND part = ANY($2::smallint[])
ORDER BY saga_id
LIMIT $3
