-- redrive_dead_letter: a person ($3, because of $4) sends a letter ($1) again, edited or not, provided that it still is
-- as it was read: open after $2 tries. The letter is leased for $7 ms, for whoever asked to publish it; after that the
-- recovery worker does.
WITH taken AS (
    UPDATE dead_letter
    SET state = 'redriven',
        tries = tries + 1,
        next_try_at = now() + $7::integer * interval '1 millisecond',
        edited_value = $5::bytea,
        edited_headers = $6::bytea,
        changed_at = now(),
        changed_by = $3::text,
        changed_because = $4::text
    WHERE id = $1::bigint AND tries = $2::integer AND state = 'open' AND kind = 'record'
    RETURNING
        id, tries, partition, key, coalesce(edited_value, value) AS value, coalesce(edited_headers, headers) AS headers,
        state, reason, num_nonnulls(edited_value, edited_headers) > 0 AS edited
),
audited AS (
    -- What was edited stands in the letter, not here: the audit is for more eyes.
    INSERT INTO audit_log (actor, action, letter_id, reason, request_id, state_before, state_after)
    SELECT
        $3::text, 'redrive', id, $4::text, $8::text,
        jsonb_build_object('state', 'open', 'reason', reason, 'tries', $2::integer),
        jsonb_build_object('state', state, 'reason', reason, 'tries', tries, 'edited', edited)
    FROM taken
)
SELECT id, tries, partition, key, value, headers FROM taken
