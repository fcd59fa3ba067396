-- What was done to one saga, newest first.
CREATE INDEX audit_log_of_saga ON audit_log (saga_id, id) WHERE saga_id IS NOT NULL
