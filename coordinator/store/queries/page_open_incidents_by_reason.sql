-- page_open_incidents_by_reason: one page of the open incidents of reason $4 before an id, newest first. Served by
-- incident_open_by_reason.
SELECT
    i.id, i.reason, i.step_name, i.detail, i.saga_id::text AS saga_id, i.saga_version, i.acts,
    i.assignee, i.resolved_by, i.resolved_because,
    floor(extract(epoch FROM i.opened_at) * 1000)::bigint AS opened_ms,
    floor(extract(epoch FROM i.assigned_at) * 1000)::bigint AS assigned_ms,
    floor(extract(epoch FROM i.resolved_at) * 1000)::bigint AS resolved_ms,
    d.name AS definition, d.version AS definition_version, s.business_key, s.status AS saga_status
FROM incident AS i
LEFT JOIN saga AS s ON s.id = i.saga_id
LEFT JOIN saga_definition AS d ON d.id = s.definition_id
WHERE i.id < $1::bigint AND i.opened_at >= to_timestamp($3::bigint::double precision / 1000)
    AND i.resolved_at IS NULL AND i.reason = $4::text
ORDER BY i.id DESC
LIMIT $2
