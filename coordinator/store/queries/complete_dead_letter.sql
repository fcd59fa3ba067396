-- complete_dead_letter: the record of a letter ($1) that was cut, read again from Kafka as a whole.
UPDATE dead_letter
SET key = $2::bytea, value = $3::bytea, headers = $4::bytea, complete = true
WHERE id = $1::bigint AND kind = 'record' AND NOT complete
