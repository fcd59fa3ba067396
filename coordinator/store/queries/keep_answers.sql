-- keep_answers: what requests were answered, where their claims still hold. Nothing waits for the disk; see claim_answers.
UPDATE idempotency_key AS k
SET status = x.status, headers = x.headers, body = x.body
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::smallint[], $5::text[], $6::bytea[])
        AS x (actor, key, claim, status, headers, body),
    (SELECT set_config('synchronous_commit', 'off', true)) AS lazily
WHERE k.actor = x.actor AND k.key = x.key AND k.claim = x.claim
