-- Lists of the open incidents of one reason, newest first.
CREATE INDEX incident_open_by_reason ON incident (reason, id) WHERE resolved_at IS NULL
