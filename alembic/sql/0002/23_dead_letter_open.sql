-- The open letters by what they are: counted for the gauge from the index alone.
CREATE INDEX dead_letter_open ON dead_letter (kind, reason, next_try_at) WHERE state = 'open'
