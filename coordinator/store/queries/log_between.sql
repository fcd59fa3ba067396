-- log_between: one page of what happened behind the place $1 to $3 and before $4, in the order of time and, at one
-- moment, of the saga; of the sagas $5 and the definitions $6, or of all where these are null.
-- Served by saga_log_by_time.
SELECT
    l.saga_id::text AS saga_id, l.version, l.event, l.step_name, l.status, l.at, d.name AS definition
FROM saga_log AS l
JOIN saga AS s ON s.id = l.saga_id
JOIN saga_definition AS d ON d.id = s.definition_id
WHERE l.at >= $1::timestamptz AND l.at < $4::timestamptz
    AND (l.at, l.saga_id, l.version) > ($1::timestamptz, $2::uuid, $3::integer)
    AND ($5::uuid[] IS NULL OR l.saga_id = ANY ($5::uuid[]))
    AND ($6::text[] IS NULL OR d.name = ANY ($6::text[]))
ORDER BY l.at, l.saga_id, l.version
LIMIT $7
