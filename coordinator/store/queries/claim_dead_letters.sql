-- claim_dead_letters: up to $4 letters that are due, of partitions ($1, of $2) that this process owns, so that what is
-- sent again comes back to a process that can read it. A claim is a lease of $5 ms: who dies between publishing and
-- marking leaves a letter that is sent once more, as the same try. A letter that waits for a definition which is not
-- among $3 is looked at again after $6 ms and costs no try. Topic $7 is ours. Served by dead_letter_due.
WITH due AS (
    SELECT
        d.id,
        d.state = 'open' AS is_new,
        d.state = 'redriven' OR d.reason <> 'definition_unknown' OR EXISTS (
            SELECT FROM saga AS s WHERE s.id = d.saga_id AND s.definition_id = ANY($3::smallint[])
        ) AS ready
    FROM dead_letter AS d
    WHERE d.next_try_at <= now() AND d.topic = $7::text AND d.partition % $2::integer = ANY($1::integer[])
    ORDER BY d.next_try_at
    LIMIT $4
    FOR UPDATE OF d SKIP LOCKED
),
claimed AS (
    UPDATE dead_letter AS d
    SET next_try_at = now() + CASE WHEN due.ready THEN $5::integer ELSE $6::integer END * interval '1 millisecond',
        state = CASE WHEN due.ready THEN 'redriven' ELSE d.state END,
        tries = d.tries + (due.ready AND due.is_new)::integer,
        changed_at = CASE WHEN due.ready AND due.is_new THEN now() ELSE d.changed_at END,
        changed_by = CASE WHEN due.ready AND due.is_new THEN 'saga-coordinator' ELSE d.changed_by END,
        changed_because = CASE WHEN due.ready AND due.is_new THEN 'sent again by itself' ELSE d.changed_because END
    FROM due
    WHERE d.id = due.id
    RETURNING
        d.id, d.tries, d.partition, d.key, coalesce(d.edited_value, d.value) AS value,
        coalesce(d.edited_headers, d.headers) AS headers, d.first_offset, due.ready
)
SELECT id, tries, partition, key, value, headers FROM claimed WHERE ready ORDER BY first_offset
