-- The history of one saga.
CREATE INDEX saga_log_of_saga ON saga_log (saga_id)
