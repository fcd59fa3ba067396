-- get_saga: one saga whole. Served by the primary key.
SELECT
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.definition_id, s.business_key,
    s.status, s.version, s.part, s.traceparent, s.input, s.state,
    floor(extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    floor(extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id
WHERE s.id = $1::uuid
