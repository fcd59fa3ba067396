-- list_sagas_by_status: one page of the sagas in some statuses and, with $7, of one definition, newest first.
-- Each pair of definition and status is a range of saga_list that is read from its end, so a page costs at most
-- `limit` rows per pair, however many sagas there are. Rows are compared as a whole because the planner, given
-- equalities, thinks a rare status as frequent as any and walks the primary key. $1 to $5 as in list_sagas.
SELECT
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    (extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    (extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    (extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM (
    SELECT newest.id
    FROM saga_definition AS w
    CROSS JOIN unnest($6::text[]) AS x (status)
    CROSS JOIN LATERAL (
        SELECT i.id
        FROM saga AS i
        WHERE (i.definition_id, i.status, i.id) < (w.id, x.status, $1::uuid)
            AND (i.definition_id, i.status, i.id) >= (w.id, x.status, $2::uuid)
            AND i.created_at >= to_timestamp($3::bigint::double precision / 1000)
            AND i.created_at < to_timestamp($4::bigint::double precision / 1000)
        ORDER BY i.definition_id DESC, i.status DESC, i.id DESC
        LIMIT $5
    ) AS newest
    WHERE $7::text IS NULL OR w.name = $7
    ORDER BY newest.id DESC
    LIMIT $5
) AS page
JOIN saga AS s ON s.id = page.id
JOIN saga_definition AS d ON d.id = s.definition_id
ORDER BY s.id DESC
