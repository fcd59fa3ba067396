-- unsent_sagas: which of these sagas have messages that are not known to be on Kafka. Served by the primary key.
SELECT DISTINCT saga_id::text AS saga_id FROM outbox WHERE saga_id = ANY($1::uuid[])
