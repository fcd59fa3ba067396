-- log_since: one page of what happened in partitions $1, in each since its moment of $2, for lifecycle events that may
-- not have been published, and before $7. In the order of time and, at one moment, of the saga; the page begins behind
-- $3 to $5.
-- Served by saga_log_by_time.
SELECT
    l.saga_id::text AS saga_id, l.version, l.part, l.event, l.step_name, l.status, l.at,
    floor(extract(epoch FROM l.at) * 1000)::bigint AS at_ms, s.definition_id, s.business_key
FROM unnest($1::smallint[], $2::bigint[]) AS x (part, since_ms)
JOIN saga_log AS l ON l.part = x.part AND l.at >= to_timestamp(x.since_ms::double precision / 1000)
JOIN saga AS s ON s.id = l.saga_id
WHERE l.at >= to_timestamp((SELECT min(m) FROM unnest($2::bigint[]) AS m)::double precision / 1000)
    AND l.at < to_timestamp($7::bigint::double precision / 1000)
    AND (l.at, l.saga_id, l.version) > ($3::timestamptz, $4::uuid, $5::integer)
ORDER BY l.at, l.saga_id, l.version
LIMIT $6
