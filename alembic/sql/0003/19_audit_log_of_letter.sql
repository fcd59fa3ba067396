-- What was done to one dead letter, newest first.
CREATE INDEX audit_log_of_letter ON audit_log (letter_id, id) WHERE letter_id IS NOT NULL
