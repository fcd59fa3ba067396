-- list_incidents: the incidents of one saga, oldest first. Served by the primary key.
SELECT
    id, saga_version, reason, step_name, detail, assignee, resolved_by, resolved_because,
    floor(extract(epoch FROM opened_at) * 1000)::bigint AS opened_ms,
    floor(extract(epoch FROM resolved_at) * 1000)::bigint AS resolved_ms
FROM incident
WHERE saga_id = $1::uuid
ORDER BY saga_version, reason
