-- The open incidents, oldest first.
CREATE INDEX incident_open ON incident (opened_at) WHERE resolved_at IS NULL
