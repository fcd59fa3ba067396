-- note_incident: a person ($2) writes down ($3) what was found out about an incident ($1), open or not.
WITH taken AS (
    UPDATE incident SET acts = acts + 1 WHERE id = $1::bigint RETURNING id
),
noted AS (
    INSERT INTO incident_note (incident_id, actor, text)
    SELECT id, $2::text, $3::text FROM taken
    RETURNING id, incident_id
),
audited AS (
    INSERT INTO audit_log (actor, action, subject, reason, request_id, state_after)
    SELECT $2::text, 'note_incident', 'incident:' || incident_id, left($3::text, 500), $4::text,
        jsonb_build_object('note', id)
    FROM noted
)
SELECT id FROM noted
