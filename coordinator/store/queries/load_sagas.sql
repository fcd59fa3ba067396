-- load_sagas: the sagas with these ids, for the engine's cache and for operator verbs. Served by the primary key.
SELECT
    id::text AS id, part, definition_id, business_key, traceparent, input, version, status, state,
    floor(extract(epoch FROM created_at) * 1000)::bigint AS created_ms
FROM saga
WHERE id = ANY($1::uuid[])
