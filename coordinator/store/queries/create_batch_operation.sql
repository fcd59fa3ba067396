-- create_batch_operation: begin a batch operation with all its sagas, audited; answers false when its confirmation has
-- begun one already, and then nothing is written. The audit says that a result is stated, not which: that stands in the
-- operation, where masking reaches it.
WITH created AS (
    INSERT INTO batch_operation (
        id, actor, reason, verb, members, filter, statuses, scope, confirmation, rate, total
    )
    VALUES ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7::text[], $8::text[], $9, $10, cardinality($11::text::uuid[]))
    ON CONFLICT (confirmation) DO NOTHING
    RETURNING id
),
items AS (
    INSERT INTO batch_operation_item (operation_id, saga_id, version)
    SELECT c.id, x.saga_id, x.version
    FROM created AS c CROSS JOIN unnest($11::text::uuid[], $12::text::integer[]) AS x (saga_id, version)
),
audited AS (
    INSERT INTO audit_log (actor, action, subject, reason, request_id, state_after)
    SELECT
        $2, 'batch_create', 'batch:' || c.id, $3, $13,
        jsonb_build_object(
            'verb', $4::text,
            'members', $5::text::jsonb
                || CASE WHEN $5::text::jsonb ? 'result' THEN '{"result": "[masked]"}'::jsonb ELSE '{}' END,
            'filter', $6::text::jsonb, 'rate', $10::integer,
            'total', cardinality($11::text::uuid[]))
    FROM created AS c
)
SELECT EXISTS (SELECT FROM created) AS created
