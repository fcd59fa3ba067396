-- keep_answer: what a request was answered, if its claim still holds. Nothing waits for the disk; see claim_answer.
UPDATE idempotency_key
SET status = $4, headers = $5, body = $6
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS lazily
WHERE actor = $1 AND key = $2 AND claim = $3
