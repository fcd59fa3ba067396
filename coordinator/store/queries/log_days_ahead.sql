-- log_days_ahead: for how many days from tomorrow on the log has partitions without a gap; none where today's is missing.
SELECT greatest(coalesce(min(ahead), 61) - 1, 0)::integer AS days
FROM generate_series(0, 60) AS ahead
WHERE to_regclass('saga_log_' || to_char((now() AT TIME ZONE 'UTC')::date + ahead, 'YYYYMMDD')) IS NULL
