-- drop_log_days: drop the log's days that are older than $1 days, but none of a saga that has not ended; answers their
-- tables. The function runs as the owner of the tables.
SELECT saga_drop_log_days($1::integer) AS day
