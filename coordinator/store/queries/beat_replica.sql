-- beat_replica: say that a replica lives and which definitions it can run; called every few seconds.
INSERT INTO replica (id, definition_ids) VALUES ($1, $2::smallint[])
ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), definition_ids = excluded.definition_ids
