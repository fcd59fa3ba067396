-- touch_keys: these keys ($1) were used just now; once a minute is enough, and nobody waits for a row.
UPDATE api_key AS k
SET last_used_at = now()
FROM (
    SELECT id
    FROM api_key
    WHERE id = ANY($1::text[]) AND (last_used_at IS NULL OR last_used_at < now() - interval '50 seconds')
    ORDER BY id
    FOR UPDATE SKIP LOCKED
) AS used
WHERE k.id = used.id
