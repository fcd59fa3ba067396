-- Creates the log's partitions from yesterday to `ahead` days from now; answers how many it made. Runs with the rights
-- of its owner: the application's role makes no tables, but for these.
CREATE OR REPLACE FUNCTION saga_ensure_log_days(ahead integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    day date;
    made integer := 0;
BEGIN
    IF ahead IS NULL OR ahead NOT BETWEEN 0 AND 60 THEN
        RAISE EXCEPTION 'the log''s days are made for 0 to 60 days ahead, not for %', ahead;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('saga_ensure_log_days'));
    FOR day IN SELECT generate_series(
        (now() AT TIME ZONE 'UTC')::date - 1, (now() AT TIME ZONE 'UTC')::date + ahead, '1 day')::date
    LOOP
        IF to_regclass('saga_log_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF saga_log FOR VALUES FROM (%L) TO (%L)',
                'saga_log_' || to_char(day, 'YYYYMMDD'),
                day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END
$$
