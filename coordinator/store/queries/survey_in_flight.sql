-- survey_in_flight: sagas in progress per definition and status, how many of them have been overdue for so many seconds,
-- and by how much the most overdue one is. Served by saga_wake, which has all that are in progress and no others; read
-- as a whole, because the status stands in the row.
SELECT
    definition_id, status, count(*)::integer AS sagas,
    count(*) FILTER (WHERE deadline < clock_timestamp() - $1::integer * interval '1 second')::integer AS stuck,
    extract(epoch FROM clock_timestamp() - min(deadline))::double precision AS overdue_s
FROM saga
WHERE wake_at IS NOT NULL
GROUP BY definition_id, status
