-- valid_keys: all keys that are neither revoked nor past their end; one row without an id where there is none. `made`
-- says whether there ever was any key.
SELECT EXISTS (SELECT FROM api_key) AS made, k.id, k.name, k.secret_hash, k.role, k.definitions
FROM (SELECT 1) AS one
LEFT JOIN (
    SELECT v.id, v.name, v.secret_hash, v.role, v.definitions
    FROM api_key AS v
    WHERE v.revoked_at IS NULL AND (v.expires_at IS NULL OR v.expires_at > now())
) AS k ON true
