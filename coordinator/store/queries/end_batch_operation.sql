-- end_batch_operation: it is done when every saga has an outcome; answers nothing when one has none.
UPDATE batch_operation AS b
SET state = 'done', ended_at = now(), changed_at = now(), owner = NULL, owned_until = NULL
WHERE b.id = $1 AND b.state = 'running' AND b.done + b.refused + b.failed = b.total
RETURNING b.id
