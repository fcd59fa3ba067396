-- reopen_dead_letter: Kafka will never take this try ($2) of a letter ($1), because of $3: a person must look at it.
UPDATE dead_letter
SET state = 'open', next_try_at = NULL, changed_at = now(), changed_by = 'saga-coordinator', changed_because = $3::text
WHERE id = $1::bigint AND tries = $2::integer AND state = 'redriven'
