-- list_summaries: these sagas without their input and steps. Served by the primary key.
SELECT
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    floor(extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    floor(extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id
WHERE s.id = ANY($1::uuid[])
