-- Drops the log's days that are older than so many days, but none on or after which an open saga began: the log of such
-- a saga is kept whole, however long it takes. Answers the tables that it dropped. Served by saga_wake and saga_list.
-- Runs with the rights of its owner: the application's role drops no tables, but for these.
CREATE FUNCTION saga_drop_log_days(older_than_days integer) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz;
    days text[];
BEGIN
    IF older_than_days IS NULL OR older_than_days < 1 THEN
        RAISE EXCEPTION 'the log is kept for a day at least, not for %', older_than_days;
    END IF;
    SELECT least(
        (SELECT min(created_at) FROM saga WHERE wake_at IS NOT NULL),
        (SELECT min(s.created_at)
         FROM saga_definition AS d JOIN saga AS s ON s.definition_id = d.id AND s.resting = 'suspended'),
        now() - older_than_days * interval '1 day')
    INTO since;
    SELECT array_agg(c.relname::text ORDER BY c.relname)
    INTO days
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'saga_log'::regclass
        AND c.relname < 'saga_log_' || to_char(since AT TIME ZONE 'UTC', 'YYYYMMDD');
    IF days IS NULL THEN
        RETURN;
    END IF;
    EXECUTE (SELECT 'DROP TABLE ' || string_agg(format('%I', day), ', ') FROM unnest(days) AS day);
    RETURN QUERY SELECT unnest(days);
END
$$
