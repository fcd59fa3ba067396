-- Takes what today's log has gained into its index by time, so that whoever follows the log reads the new rows only:
-- until a block range is summarised, every question about a moment reads it. Answers how many ranges it took in.
CREATE FUNCTION saga_summarize_log() RETURNS integer
LANGUAGE sql AS $$
SELECT coalesce(sum(brin_summarize_new_values(i.indexrelid)), 0)::integer
FROM pg_inherits AS h
JOIN pg_index AS i ON i.indexrelid = h.inhrelid
JOIN pg_class AS c ON c.oid = i.indrelid
WHERE h.inhparent = 'saga_log_by_time'::regclass
    AND c.relname = 'saga_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')
$$
