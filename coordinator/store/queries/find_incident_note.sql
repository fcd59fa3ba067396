-- find_incident_note: what a person ($2) wrote down ($3) about an incident ($1) since $4 (ms), if they did.
-- Served by incident_note_of_incident.
SELECT id FROM incident_note WHERE incident_id = $1::bigint AND actor = $2::text AND text = $3::text
    AND at >= to_timestamp($4::double precision / 1000)
LIMIT 1
