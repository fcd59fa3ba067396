-- change_batch_operation: pause, resume or cancel ($4) a batch operation that is in one of these states, audited; answers
-- nothing, and writes nothing, when it is not.
WITH before AS (
    SELECT id, state, total, done, refused, failed FROM batch_operation WHERE id = $1 FOR UPDATE
),
changed AS (
    UPDATE batch_operation AS b
    SET state = $3, changed_at = now(), owner = NULL, owned_until = NULL,
        ended_at = CASE WHEN $3 = 'cancelled' THEN now() END
    FROM before AS o
    WHERE b.id = o.id AND o.state = ANY($2::text[])
    RETURNING b.id
),
audited AS (
    INSERT INTO audit_log (actor, action, subject, reason, request_id, state_before, state_after)
    SELECT
        $5, $4, 'batch:' || c.id, $6, $7,
        jsonb_build_object(
            'state', o.state, 'left', o.total - o.done - o.refused - o.failed),
        jsonb_build_object('state', $3::text)
    FROM changed AS c JOIN before AS o ON o.id = c.id
)
SELECT id FROM changed
