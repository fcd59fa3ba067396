-- Lists of what one person looks after, newest first.
CREATE INDEX incident_open_by_assignee ON incident (assignee, id) WHERE resolved_at IS NULL AND assignee IS NOT NULL
