-- audit_refusals: what was refused, each row for $8 refusals of the same: who ($1) asked for what ($2), of which saga ($3)
-- or other thing ($4), why it was refused ($5), the first request ($6), and the status of the answer ($7).
INSERT INTO audit_log (actor, action, saga_id, subject, reason, request_id, outcome, state_after)
SELECT
    r.actor, r.action, r.saga_id, r.subject, r.reason, r.request_id, 'refused',
    jsonb_build_object('status', r.status, 'times', r.times)
FROM unnest(
    $1::text[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::integer[]
) AS r (actor, action, saga_id, subject, reason, request_id, status, times)
