-- drop_answers: forget at most $1 of the Idempotency-Keys that are older than a day; answers how many. Served by
-- idempotency_key_age.
WITH old AS (
    SELECT actor, key FROM idempotency_key
    WHERE created_at < now() - interval '24 hours'
    ORDER BY created_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
),
dropped AS (
    DELETE FROM idempotency_key AS k USING old AS o WHERE k.actor = o.actor AND k.key = o.key RETURNING 1
)
SELECT count(*)::integer AS keys FROM dropped
