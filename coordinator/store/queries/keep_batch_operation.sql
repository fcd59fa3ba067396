-- keep_batch_operation: go on being the one who does it; answers nothing when it shall not run, or is another's.
UPDATE batch_operation
SET owned_until = now() + interval '10 seconds'
WHERE id = $1 AND owner = $2 AND state = 'running'
RETURNING id
