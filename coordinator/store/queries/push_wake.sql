-- push_wake: sagas woke although their deadlines have moved on since: each wakes at its deadline, if its row is at the
-- version that was looked at. The value comes from the row itself; the version stays. Answers those at another version.
WITH seen AS (
    SELECT x.id, x.version FROM unnest($1::uuid[], $2::integer[]) AS x (id, version)
),
pushed AS (
    UPDATE saga AS s SET wake_at = s.deadline
    FROM seen AS x
    WHERE s.id = x.id AND s.version = x.version AND s.wake_at < s.deadline
)
SELECT s.id::text AS id
FROM seen AS x JOIN saga AS s ON s.id = x.id
WHERE s.version <> x.version
