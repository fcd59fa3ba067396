-- survey_compensating: for each definition, since when the saga that turned back first has been undoing; of the first so
-- many by their start. Served by saga_wake, then by saga_log_of_saga for those few.
WITH undoing AS MATERIALIZED (
    SELECT id, definition_id FROM saga WHERE wake_at IS NOT NULL AND status = 'compensating' ORDER BY id LIMIT $1
)
SELECT u.definition_id, extract(epoch FROM clock_timestamp() - min(turned.at))::double precision AS seconds
FROM undoing AS u
CROSS JOIN LATERAL (
    SELECT min(l.at) AS at FROM saga_log AS l WHERE l.saga_id = u.id AND l.status = 'compensating'
) AS turned
GROUP BY u.definition_id
