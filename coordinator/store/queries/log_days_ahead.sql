-- log_days_ahead: for how many days from tomorrow on the log has partitions without a gap.
SELECT count(*)::integer AS days
FROM generate_series(1, 60) AS ahead
WHERE to_regclass('saga_log_' || to_char((now() AT TIME ZONE 'UTC')::date + ahead, 'YYYYMMDD')) IS NOT NULL
