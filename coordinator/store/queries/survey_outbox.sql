-- survey_outbox: messages that are not known to be on Kafka, and how old the oldest is. The table is small unless Kafka
-- is away, and is read as a whole.
SELECT count(*)::integer AS messages, extract(epoch FROM clock_timestamp() - min(created_at))::double precision AS oldest_s
FROM outbox
