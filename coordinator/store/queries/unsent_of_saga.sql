-- unsent_of_saga: which messages of a saga are not known to be on Kafka. Served by the primary key.
SELECT saga_version, position FROM outbox WHERE saga_id = $1::uuid
