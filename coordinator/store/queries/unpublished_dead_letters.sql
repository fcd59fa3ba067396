-- unpublished_dead_letters: dead letters that are not on the dead-letter topic yet; called by the owner of partition 0.
-- Served by dead_letter_unpublished.
SELECT
    id, kind, at, reason, detail, topic, partition, first_offset, next_offset, key, value, value_length, headers,
    saga_id::text AS saga_id, command_id
FROM dead_letter WHERE NOT on_topic ORDER BY id LIMIT $1
