-- oldest_unsent: how many messages wait for Kafka, and for how long the oldest has waited. The table is small.
SELECT
    count(*) AS messages,
    coalesce(extract(epoch FROM clock_timestamp() - min(o.created_at)), 0)::double precision AS age_s
FROM outbox AS o
