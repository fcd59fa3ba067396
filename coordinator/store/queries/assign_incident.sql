-- assign_incident: a person ($2, because of $4) says who ($3, null for nobody) looks after an open incident ($1),
-- provided that it still is as it was read: after $6 acts.
WITH seen AS (
    SELECT id, assignee FROM incident
    WHERE id = $1::bigint AND acts = $6::integer AND resolved_at IS NULL
    FOR UPDATE
),
taken AS (
    UPDATE incident AS i
    SET assignee = $3::text, assigned_at = CASE WHEN $3::text IS NOT NULL THEN now() END, acts = i.acts + 1
    FROM seen
    WHERE i.id = seen.id
    RETURNING i.id, seen.assignee AS before
),
audited AS (
    INSERT INTO audit_log (actor, action, subject, reason, request_id, state_before, state_after)
    SELECT
        $2::text, 'assign_incident', 'incident:' || id, $4::text, $5::text,
        jsonb_build_object('assignee', before), jsonb_build_object('assignee', $3::text)
    FROM taken
)
SELECT id FROM taken
