-- list_sagas: one page of all sagas, newest first. Served by the primary key: ids are version 7 UUIDs, so $1 (before)
-- and $2 (from) bound the time as well; $3 and $4 are exact where an id's own time is a little off. Every statement of
-- a list answers `cut`: where the walk ended early, behind which the next page begins. This one's never does.
SELECT
    NULL AS cut,
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    floor(extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    floor(extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id
WHERE s.id < $1::uuid AND s.id >= $2::uuid
    AND s.created_at >= to_timestamp($3::bigint::double precision / 1000)
    AND s.created_at < to_timestamp($4::bigint::double precision / 1000)
ORDER BY s.id DESC
LIMIT $5
