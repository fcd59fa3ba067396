-- resolve_incident: a person ($2, because of $3) closes an open incident ($1), provided that it still is as it was read,
-- after $5 acts, and that no verb is asked for: of the reasons $6 none ever is, of the others while the saga is suspended.
WITH taken AS (
    UPDATE incident AS i
    SET resolved_at = now(), resolved_by = $2::text, resolved_because = $3::text, acts = i.acts + 1
    WHERE i.id = $1::bigint AND i.acts = $5::integer AND i.resolved_at IS NULL
        AND (i.reason = ANY($6::text[])
            OR NOT EXISTS (SELECT FROM saga AS s WHERE s.id = i.saga_id AND s.status = 'suspended'))
    RETURNING i.id
),
audited AS (
    INSERT INTO audit_log (actor, action, subject, reason, request_id, state_before, state_after)
    SELECT
        $2::text, 'resolve_incident', 'incident:' || id, $3::text, $4::text,
        jsonb_build_object('state', 'open'), jsonb_build_object('state', 'resolved')
    FROM taken
)
SELECT id FROM taken
