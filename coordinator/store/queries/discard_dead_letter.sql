-- discard_dead_letter: a person ($2, because of $3) decides that an open record ($1) is not wanted any more, provided
-- that it still is as it was read: open after $5 tries.
WITH taken AS (
    UPDATE dead_letter
    SET state = 'discarded', next_try_at = NULL, changed_at = now(), changed_by = $2::text, changed_because = $3::text
    WHERE id = $1::bigint AND tries = $5::integer AND state = 'open' AND kind = 'record'
    RETURNING id, state, reason, tries
),
audited AS (
    INSERT INTO audit_log (actor, action, letter_id, reason, request_id, state_before, state_after)
    SELECT
        $2::text, 'discard', id, $3::text, $4::text,
        jsonb_build_object('state', 'open', 'reason', reason, 'tries', tries),
        jsonb_build_object('state', state, 'reason', reason, 'tries', tries)
    FROM taken
)
SELECT id FROM taken
