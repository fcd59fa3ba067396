-- The sagas with an open incident of a reason, newest first.
CREATE INDEX incident_of_reason ON incident (reason, saga_id) WHERE resolved_at IS NULL
