-- The outbox under the column names of Debezium's Outbox Event Router, so that change data capture can replace
-- the built-in relay (its configuration stands in deploy/debezium/). A command's id is in its payload.
CREATE VIEW outbox_event AS
SELECT
    coalesce(content ->> 'command_id' || '#' || (content ->> 'attempt'), saga_id::text || ':refused') AS id,
    destination AS aggregatetype,
    saga_id::text AS aggregateid,
    type,
    content AS payload,
    traceparent,
    created_at
FROM outbox, LATERAL (SELECT convert_from(outbox.payload, 'UTF8')::jsonb AS content) AS read
