-- expired_log_days: days of the log that are older than $1 days and older than every saga that has not ended: the log of
-- an open saga is kept whole, however long it takes. Served by saga_wake and saga_list.
WITH open AS (
    SELECT least(
        (SELECT min(created_at) FROM saga WHERE wake_at IS NOT NULL),
        (SELECT min(s.created_at)
         FROM saga_definition AS d JOIN saga AS s ON s.definition_id = d.id AND s.resting = 'suspended'),
        now() - $1::integer * interval '1 day') AS since
)
SELECT c.relname AS day
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid, open
WHERE i.inhparent = 'saga_log'::regclass
    AND c.relname < 'saga_log_' || to_char(open.since AT TIME ZONE 'UTC', 'YYYYMMDD')
ORDER BY c.relname
