-- The letters that the recovery worker has something to do with, the most overdue first.
CREATE INDEX dead_letter_due ON dead_letter (next_try_at) WHERE next_try_at IS NOT NULL
