-- page_some_incidents: of the $3 newest incidents before an id ($1) those that fit, at most $2, newest first. For filters
-- that no index serves: the walk along the ids is bounded, and a page may hold less than it could. Each row, of which
-- there is at least one, says how many were looked at (`scanned`), down to which id, and how old the oldest was.
WITH scanned AS MATERIALIZED (
    SELECT * FROM incident WHERE id < $1::bigint ORDER BY id DESC LIMIT $3
),
found AS (
    SELECT
        i.id, i.reason, i.step_name, i.detail, i.saga_id::text AS saga_id, i.saga_version, i.acts,
        i.assignee, i.resolved_by, i.resolved_because,
        floor(extract(epoch FROM i.opened_at) * 1000)::bigint AS opened_ms,
        floor(extract(epoch FROM i.assigned_at) * 1000)::bigint AS assigned_ms,
        floor(extract(epoch FROM i.resolved_at) * 1000)::bigint AS resolved_ms,
        d.name AS definition, d.version AS definition_version, s.business_key, s.status AS saga_status
    FROM scanned AS i
    LEFT JOIN saga AS s ON s.id = i.saga_id
    LEFT JOIN saga_definition AS d ON d.id = s.definition_id
    WHERE i.opened_at >= to_timestamp($4::bigint::double precision / 1000)
        AND ($5::boolean IS NULL OR (i.resolved_at IS NULL) = $5)
        AND ($6::text IS NULL OR i.reason = $6)
        AND ($7::text IS NULL OR i.assignee = $7)
        AND ($8::text IS NULL OR d.name = $8)
        AND ($9::text[] IS NULL OR d.name = ANY($9))
    ORDER BY i.id DESC
    LIMIT $2
)
SELECT found.*, bounds.scanned_to, bounds.scanned, bounds.oldest_ms
FROM (
    SELECT
        min(id) AS scanned_to, count(*)::integer AS scanned,
        floor(extract(epoch FROM min(opened_at)) * 1000)::bigint AS oldest_ms
    FROM scanned
) AS bounds
LEFT JOIN found ON true
ORDER BY found.id DESC NULLS LAST
