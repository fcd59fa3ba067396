-- list_sagas_of_key: the sagas of a business key, one per definition name at most. Served by the primary key of
-- saga_key. $1 to $7 as in list_sagas_by_status; statuses may be null.
SELECT
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    floor(extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    floor(extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM (SELECT DISTINCT n.name FROM saga_definition AS n WHERE $7::text IS NULL OR n.name = $7) AS w
JOIN saga_key AS k ON k.definition = w.name AND k.business_key = $8
JOIN saga AS s ON s.id = k.saga_id
JOIN saga_definition AS d ON d.id = s.definition_id
WHERE s.id < $1::uuid AND s.id >= $2::uuid
    AND s.created_at >= to_timestamp($3::bigint::double precision / 1000)
    AND s.created_at < to_timestamp($4::bigint::double precision / 1000)
    AND ($6::text[] IS NULL OR s.status = ANY($6))
ORDER BY s.id DESC
LIMIT $5
