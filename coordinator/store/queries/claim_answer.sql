-- claim_answer: let a request have its Idempotency-Key, unless another has it: then say what that one was answered.
-- A key that is older than a day is free; a claim without an answer that is older than half a minute, or was given up, is
-- taken over by the same request. `tries` is null when the key is not ours. What is lost here with a crash of Postgres is
-- a convenience, the acts themselves are not: so nothing waits for the disk.
WITH lazily AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
),
claimed AS (
    INSERT INTO idempotency_key AS k (actor, key, fingerprint, claim)
    SELECT $1, $2, $3, $4 FROM lazily
    ON CONFLICT (actor, key) DO UPDATE
    SET fingerprint = excluded.fingerprint,
        claim = excluded.claim,
        claimed_at = now(),
        tries = CASE WHEN k.created_at < now() - interval '24 hours' THEN 1 ELSE k.tries + 1 END,
        created_at = CASE WHEN k.created_at < now() - interval '24 hours' THEN now() ELSE k.created_at END,
        status = NULL, headers = NULL, body = NULL
    WHERE k.created_at < now() - interval '24 hours'
        OR (
            k.status IS NULL AND k.fingerprint = excluded.fingerprint
            AND k.claimed_at < now() - interval '30 seconds'
        )
    RETURNING k.tries
)
SELECT c.tries, k.fingerprint = $3 AS same, k.status, k.headers, k.body
FROM (VALUES (1)) AS one (row)
LEFT JOIN claimed AS c ON true
LEFT JOIN idempotency_key AS k ON k.actor = $1 AND k.key = $2
