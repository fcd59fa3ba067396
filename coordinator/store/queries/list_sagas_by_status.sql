-- list_sagas_by_status: one page of the sagas in some statuses and, with $7, of one definition, newest first.
-- At rest: each pair of definition and status is a range of saga_list that is read from its end, so a page costs at
-- most `limit` rows per pair, however many sagas there are. Rows are compared as a whole because the planner, given
-- equalities, thinks a rare status as frequent as any and walks the primary key. In progress: all that saga_wake has,
-- which are as many as are in flight; read by themselves, so that no other index tempts. $1 to $5 as in list_sagas.
WITH wanted AS (
    SELECT w.id AS definition_id, w.name, w.version FROM saga_definition AS w WHERE $7::text IS NULL OR w.name = $7
),
resting AS (
    SELECT newest.id
    FROM wanted AS w
    CROSS JOIN unnest($6::text[]) AS x (status)
    CROSS JOIN LATERAL (
        SELECT i.id
        FROM saga AS i
        WHERE i.resting IS NOT NULL
            AND (i.definition_id, i.resting, i.id) < (w.definition_id, x.status, $1::uuid)
            AND (i.definition_id, i.resting, i.id) >= (w.definition_id, x.status, $2::uuid)
            AND i.created_at >= to_timestamp($3::bigint::double precision / 1000)
            AND i.created_at < to_timestamp($4::bigint::double precision / 1000)
        ORDER BY i.definition_id DESC, i.resting DESC, i.id DESC
        LIMIT $5
    ) AS newest
),
awake AS MATERIALIZED (
    SELECT id, definition_id, status, created_at FROM saga WHERE wake_at IS NOT NULL
),
progressing AS (
    SELECT p.id
    FROM awake AS p
    WHERE p.status = ANY($6::text[])
        AND p.definition_id IN (SELECT w.definition_id FROM wanted AS w)
        AND p.id < $1::uuid AND p.id >= $2::uuid
        AND p.created_at >= to_timestamp($3::bigint::double precision / 1000)
        AND p.created_at < to_timestamp($4::bigint::double precision / 1000)
    ORDER BY p.id DESC
    LIMIT $5
),
page AS (
    SELECT id FROM resting UNION ALL SELECT id FROM progressing
    ORDER BY id DESC
    LIMIT $5
)
SELECT
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    floor(extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    floor(extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM page
JOIN saga AS s ON s.id = page.id
JOIN saga_definition AS d ON d.id = s.definition_id
ORDER BY s.id DESC
