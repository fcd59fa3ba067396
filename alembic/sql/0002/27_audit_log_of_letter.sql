-- What was done to one dead letter.
CREATE INDEX audit_log_of_letter ON audit_log (letter_id) WHERE letter_id IS NOT NULL
