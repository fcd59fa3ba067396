-- log_since: what happened in these partitions since a moment, for lifecycle events that may not have been published.
SELECT
    l.saga_id::text AS saga_id, l.version, l.part, l.event, l.step_name, l.status,
    floor(extract(epoch FROM l.at) * 1000)::bigint AS at_ms, s.definition_id, s.business_key
FROM saga_log AS l JOIN saga AS s ON s.id = l.saga_id
WHERE l.at >= to_timestamp($2::bigint::double precision / 1000) AND l.part = ANY($1::smallint[])
ORDER BY l.saga_id, l.version
