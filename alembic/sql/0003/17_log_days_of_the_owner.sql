-- Both run as their owner, find names in this schema only whatever the caller's search path says, and are for those
-- alone who were granted them.
DO $$
DECLARE
    routine text;
BEGIN
    FOREACH routine IN ARRAY ARRAY['saga_ensure_log_days(integer)', 'saga_drop_log_days(integer)'] LOOP
        EXECUTE format(
            'ALTER FUNCTION %s SECURITY DEFINER SET search_path TO %I, pg_temp', routine, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
END
$$
