-- create_key: a key ($1) of a name ($2), audited, at a free place of the name; no row where both are taken by valid
-- keys. Whoever takes the same place at the same time runs into the table's constraint and asks again.
WITH freed AS (
    UPDATE api_key SET place = NULL WHERE name = $2::text AND place IS NOT NULL AND expires_at <= now()
    RETURNING id
),
free AS (
    SELECT min(p.place) AS place
    FROM (VALUES (1), (2)) AS p (place)
    WHERE (SELECT count(*) FROM freed) >= 0 -- first, or the place would not be free yet
        AND NOT EXISTS (
            SELECT FROM api_key AS k
            WHERE k.name = $2 AND k.place = p.place AND (k.expires_at IS NULL OR k.expires_at > now()))
),
created AS (
    INSERT INTO api_key (id, name, place, secret_hash, role, definitions, expires_at, created_by)
    SELECT
        $1::text, $2, f.place, $3::bytea, $4::text, $5::text[],
        to_timestamp($6::bigint::double precision / 1000), $7::text
    FROM free AS f
    WHERE f.place IS NOT NULL
    RETURNING id, name, role, definitions, expires_at
),
audited AS (
    INSERT INTO audit_log (actor, action, subject, reason, request_id, state_after)
    SELECT $7, 'create_key', 'key:' || c.id, $8::text, $9::text, to_jsonb(c) FROM created AS c
)
SELECT id FROM created
