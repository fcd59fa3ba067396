-- The letters of one saga, newest first.
CREATE INDEX dead_letter_of_saga ON dead_letter (saga_id, id) WHERE saga_id IS NOT NULL
