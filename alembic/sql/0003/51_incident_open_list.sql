-- Lists of the open incidents, newest first.
CREATE INDEX incident_open_list ON incident (id) WHERE resolved_at IS NULL
