-- held_sagas: the oldest sagas of these partitions that queue for a participant. A walk along the key: a condition on the
-- partition of which the planner believes that it keeps few rows would make it read and sort the whole queue.
SELECT saga_id::text AS id
FROM held_step
WHERE participant = $1 AND array_position($2::smallint[], part) IS NOT NULL
ORDER BY saga_id
LIMIT $3
