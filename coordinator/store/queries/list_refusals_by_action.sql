-- list_refusals_by_action: what was refused of one kind ($6) between the ids $3 and $1, newest first, $2 at most, exactly within
-- $4 and $5 (ms; null for ever). Served by audit_log_refused_by_action, as rows are compared whole.
SELECT
    id, floor(extract(epoch FROM at) * 1000)::bigint AS at_ms, actor, action, outcome, saga_id::text, letter_id, subject,
    reason, request_id, version_before, version_after, state_before::text, state_after::text
FROM audit_log
WHERE outcome = 'refused' AND (action, id) < ($6::text, $1::bigint) AND (action, id) > ($6::text, $3::bigint)
    AND ($4::bigint IS NULL OR at >= to_timestamp($4::double precision / 1000))
    AND ($5::bigint IS NULL OR at < to_timestamp($5::double precision / 1000))
ORDER BY action DESC, id DESC
LIMIT $2
