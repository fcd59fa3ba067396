-- revoke_key: end a key ($1) that is not revoked yet, audited: who ($2), why ($3), with which request ($4).
WITH valid AS (
    SELECT id, name, role, definitions, expires_at FROM api_key WHERE id = $1::text AND revoked_at IS NULL
    FOR UPDATE
),
revoked AS (
    UPDATE api_key AS k
    SET revoked_at = now(), revoked_by = $2::text, revoked_because = $3::text, place = NULL
    FROM valid AS v
    WHERE k.id = v.id
    RETURNING k.id, k.revoked_at
),
audited AS (
    INSERT INTO audit_log (actor, action, subject, reason, request_id, state_before, state_after)
    SELECT $2, 'revoke_key', 'key:' || r.id, $3, $4::text, to_jsonb(v), to_jsonb(v) || to_jsonb(r)
    FROM revoked AS r JOIN valid AS v ON v.id = r.id
)
SELECT id FROM revoked
