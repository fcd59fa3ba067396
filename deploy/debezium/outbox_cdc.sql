-- Run once in the coordinator's database, by hand, where Debezium is to publish the outbox.
-- Change data capture reads tables, not views, and the outbox keeps no message's id in a column of its own: this copies
-- each new row, in the shape of the view outbox_event, into a table that is always empty. Its insert is in the
-- write-ahead log all the same, and that is what Debezium reads.
BEGIN;

CREATE TABLE outbox_cdc (
    id text NOT NULL,
    aggregatetype text NOT NULL,
    aggregateid text NOT NULL,
    type text NOT NULL,
    payload bytea NOT NULL,
    partition integer NOT NULL,
    reply_partition integer NOT NULL,
    created_at timestamptz NOT NULL,
    traceparent text,
    -- The same for every message; the topic is the one of the setting SAGA_TOPIC_PREFIX.
    specversion text NOT NULL DEFAULT '1.0',
    source text NOT NULL DEFAULT 'saga-coordinator',
    content_type text NOT NULL DEFAULT 'application/json',
    reply_topic text NOT NULL DEFAULT 'saga.replies'
);

CREATE FUNCTION outbox_to_cdc() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox_cdc
    SELECT
        coalesce(content ->> 'command_id' || '#' || (content ->> 'attempt'), saga_id::text || ':refused'),
        destination, saga_id::text, type, payload, partition, part, created_at, traceparent
    FROM inserted, LATERAL (SELECT convert_from(payload, 'UTF8')::jsonb AS content) AS read
    ORDER BY saga_id, saga_version, position;
    DELETE FROM outbox_cdc;
    RETURN NULL;
END
$$;

CREATE TRIGGER outbox_to_cdc AFTER INSERT ON outbox
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION outbox_to_cdc();

-- Inserts only: the deletes above are nobody's business, and would ask for a primary key.
CREATE PUBLICATION saga_outbox FOR TABLE outbox_cdc WITH (publish = 'insert');

COMMIT;
