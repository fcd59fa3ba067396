-- list_incident_notes: the notes of one incident, oldest first. Served by incident_note_of_incident.
SELECT id, actor, text, floor(extract(epoch FROM at) * 1000)::bigint AS at_ms
FROM incident_note
WHERE incident_id = $1::bigint
ORDER BY id
LIMIT $2
