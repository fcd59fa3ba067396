-- record_batch_items: what came of some sagas of a batch operation; each is counted once, whoever says it how often.
WITH written AS (
    UPDATE batch_operation_item AS i
    SET outcome = x.outcome, detail = x.detail, version_after = x.version_after
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::integer[]) AS x (saga_id, outcome, detail, version_after)
    WHERE i.operation_id = $1 AND i.saga_id = x.saga_id AND i.outcome IS NULL
    RETURNING i.outcome
),
counted AS (
    SELECT
        count(*) FILTER (WHERE outcome = 'done') AS done,
        count(*) FILTER (WHERE outcome = 'refused') AS refused,
        count(*) FILTER (WHERE outcome = 'failed') AS failed
    FROM written
)
UPDATE batch_operation AS b
SET done = b.done + c.done, refused = b.refused + c.refused, failed = b.failed + c.failed, changed_at = now()
FROM counted AS c
WHERE b.id = $1
