-- survey_incidents: open incidents per reason, and since when the oldest has been open. Served by incident_open.
SELECT
    reason, count(*)::integer AS incidents,
    extract(epoch FROM clock_timestamp() - min(opened_at))::double precision AS seconds
FROM incident
WHERE resolved_at IS NULL
GROUP BY reason
