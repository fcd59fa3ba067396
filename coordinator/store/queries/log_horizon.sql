-- log_horizon: a moment before which the log is complete: an entry's time is when its statement began, and no statement
-- of ours that began before it is still running. The margin is for one that has begun and has not said so yet; one that
-- runs longer than $1 seconds is waited for no longer.
SELECT least(
    clock_timestamp() - interval '100 milliseconds',
    greatest(
        coalesce(min(a.xact_start), clock_timestamp()) - interval '1 millisecond',
        clock_timestamp() - make_interval(secs => $1::double precision))) AS horizon
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.application_name = 'saga-coordinator' AND a.xact_start IS NOT NULL
    AND a.pid <> pg_backend_pid()
