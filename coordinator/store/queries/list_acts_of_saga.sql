-- list_acts_of_saga: what was done to a saga ($7; by $8, of kind $9, outcome $6, if not null) between the ids $3 and
-- $1, $2 at most, exactly within $4 and $5 (ms; null for ever). Served by audit_log_of_saga: rows are compared whole,
-- so that no plan walks another index however common it believes a value to be.
SELECT
    id, floor(extract(epoch FROM at) * 1000)::bigint AS at_ms, actor, action, outcome, saga_id::text, letter_id, subject,
    reason, request_id, version_before, version_after, state_before::text, state_after::text
FROM audit_log
WHERE saga_id IS NOT NULL AND (saga_id, id) < ($7::uuid, $1::bigint) AND (saga_id, id) > ($7::uuid, $3::bigint)
    AND ($4::bigint IS NULL OR at >= to_timestamp($4::double precision / 1000))
    AND ($5::bigint IS NULL OR at < to_timestamp($5::double precision / 1000))
    AND ($6::text IS NULL OR outcome = $6)
    AND ($8::text IS NULL OR actor = $8)
    AND ($9::text IS NULL OR action = $9)
ORDER BY saga_id DESC, id DESC
LIMIT $2
