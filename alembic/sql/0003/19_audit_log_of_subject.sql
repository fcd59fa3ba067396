-- What was done to a key or another thing that has a name, newest first.
CREATE INDEX audit_log_of_subject ON audit_log (subject, id) WHERE subject IS NOT NULL
