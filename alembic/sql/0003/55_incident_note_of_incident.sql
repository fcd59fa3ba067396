-- The notes of one incident, oldest first.
CREATE INDEX incident_note_of_incident ON incident_note (incident_id, id)
