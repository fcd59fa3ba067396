-- It runs as its owner, finds names in this schema only whatever the caller's search path says, and is for those alone
-- who were granted it.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION saga_summarize_log() SECURITY DEFINER SET search_path TO %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION saga_summarize_log() FROM PUBLIC;
END
$$
