-- release_sagas: sagas that do not queue for a participant any more. Answers how many did.
WITH gone AS (
    DELETE FROM held_step WHERE participant = $1 AND saga_id = ANY($2::uuid[])
    RETURNING 1
)
SELECT count(*)::integer AS sagas FROM gone
