-- What was done to one saga.
CREATE INDEX audit_log_of_saga ON audit_log (saga_id)
