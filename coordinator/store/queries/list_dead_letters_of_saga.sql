-- list_dead_letters_of_saga: one page of the letters of one saga before an id, newest first. Served by
-- dead_letter_of_saga.
SELECT
    id, kind, state, reason, detail, topic, partition, first_offset, next_offset, value_length, complete,
    edited_value IS NOT NULL OR edited_headers IS NOT NULL AS edited, saga_id::text AS saga_id, command_id, tries,
    floor(extract(epoch FROM at) * 1000)::bigint AS at_ms,
    floor(extract(epoch FROM next_try_at) * 1000)::bigint AS next_try_ms,
    floor(extract(epoch FROM changed_at) * 1000)::bigint AS changed_ms,
    changed_by, changed_because
FROM dead_letter
WHERE id < $1::bigint AND ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR reason = $4)
    AND ($5::text IS NULL OR state = $5) AND saga_id = $6::uuid
ORDER BY id DESC
LIMIT $2
