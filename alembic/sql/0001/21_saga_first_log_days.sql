-- A fortnight of log partitions, so that the first coordinator can write at once.
SELECT saga_ensure_log_days(14)
