-- ensure_log_days: create the log's partitions for the days to come; answers how many were made.
SELECT saga_ensure_log_days($1)
