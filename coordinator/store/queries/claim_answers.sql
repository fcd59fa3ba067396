-- claim_answers: let requests have their Idempotency-Keys, unless others have them: then say what those were answered.
-- A key that is older than a day is free; a claim without an answer that is older than half a minute, or was given up, is
-- taken over by the same request. `tries` is null where the key is not ours. What is lost here with a crash of Postgres is
-- a convenience, the acts themselves are not: so nothing waits for the disk. The arrays are sorted by actor and key, none
-- of which comes twice: overlapping statements cannot deadlock.
WITH lazily AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
),
asked AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[]) AS x (actor, key, fingerprint, claim)
),
claimed AS (
    INSERT INTO idempotency_key AS k (actor, key, fingerprint, claim)
    SELECT a.actor, a.key, a.fingerprint, a.claim FROM asked AS a CROSS JOIN lazily
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
    RETURNING k.claim, k.tries, k.created_at
)
SELECT
    a.claim::text AS claim, c.tries, floor(extract(epoch FROM c.created_at) * 1000)::bigint AS created_ms,
    k.fingerprint = a.fingerprint AS same, k.status, k.headers, k.body
FROM asked AS a
LEFT JOIN claimed AS c ON c.claim = a.claim
LEFT JOIN idempotency_key AS k ON c.tries IS NULL AND k.actor = a.actor AND k.key = a.key
