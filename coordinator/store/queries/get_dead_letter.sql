-- get_dead_letter: one letter with everything that is kept of it.
SELECT
    id, kind, state, reason, detail, topic, partition, first_offset, next_offset, value_length, complete,
    edited_value IS NOT NULL OR edited_headers IS NOT NULL AS edited, saga_id::text AS saga_id, command_id, tries,
    floor(extract(epoch FROM at) * 1000)::bigint AS at_ms,
    floor(extract(epoch FROM next_try_at) * 1000)::bigint AS next_try_ms,
    floor(extract(epoch FROM changed_at) * 1000)::bigint AS changed_ms,
    changed_by, changed_because,
    cluster_id, key, value, headers, edited_value, edited_headers
FROM dead_letter
WHERE id = $1::bigint
