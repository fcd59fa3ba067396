-- get_key: one key ($1), valid or not, and the hash of its secret.
SELECT
    id, name, role, definitions, created_by, revoked_by, revoked_because, secret_hash,
    CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN expires_at <= now() THEN 'expired'
        ELSE 'valid'
    END AS state,
    floor(extract(epoch FROM created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM expires_at) * 1000)::bigint AS expires_ms,
    floor(extract(epoch FROM revoked_at) * 1000)::bigint AS revoked_ms,
    floor(extract(epoch FROM last_used_at) * 1000)::bigint AS last_used_ms
FROM api_key
WHERE id = $1::text
