-- commit_batch: the one statement of the hot path. Called by the engine for every poll batch and every timer
-- batch, and by the API for starts and operator verbs (then with no fences). All or nothing: when a partition has
-- another owner or a saga row has moved on, saga_refuse ends the statement and nothing of it remains.
-- Saga rows are found by primary key, in the order of the arrays, which the caller sorts by id: two overlapping
-- batches cannot deadlock. Columns of numbers and of plain words travel as array literals in text: the driver spends
-- five times longer on an array's elements one by one. `rests` rows wake for nothing; others wake lazily, never later than before.
WITH fenced AS (
    UPDATE shard AS s
    SET next_offset = x.next_offset,
        applied = s.applied + x.applied,
        duplicate = s.duplicate + x.duplicate,
        stale = s.stale + x.stale,
        "foreign" = s."foreign" + x."foreign",
        quarantined = s.quarantined + x.quarantined,
        events_through = greatest(s.events_through, $11::timestamptz)
    FROM unnest(
        $1::text::smallint[], $2::text::bigint[], $3::text::text[], $4::text::bigint[], $5::text::bigint[],
        $6::text::integer[], $7::text::integer[], $8::text::integer[], $9::text::integer[], $10::text::integer[]
    ) AS x (part, epoch, owner, from_offset, next_offset, applied, duplicate, stale, "foreign", quarantined)
    WHERE s.part = x.part AND s.epoch = x.epoch AND s.owner = x.owner AND s.next_offset = x.from_offset
    RETURNING 1
),
moved AS (
    UPDATE saga AS s
    SET version = n.next_version,
        updated_at = now(),
        deadline = n.deadline,
        wake_at = CASE WHEN n.deadline IS NOT NULL THEN least(s.wake_at, n.deadline) END,
        status = n.status,
        state = n.state,
        waits_at = n.waits_at,
        hangs_at = CASE WHEN n.status = 'suspended' THEN n.waits_at END
    FROM (
        SELECT
            m.id, m.version, m.next_version, m.status, m.state, m.unless_unsent, m.waits_at,
            to_timestamp(m.deadline_ms::double precision / 1000) AS deadline
        FROM unnest(
            $12::text::uuid[], $13::text::integer[], $14::text::integer[], $15::text::text[], $16::bytea[], $17::text::bigint[], $18::text::boolean[],
            $87::text::text[]
        ) AS m (id, version, next_version, status, state, deadline_ms, unless_unsent, waits_at)
    ) AS n
    WHERE s.id = n.id AND s.version = n.version
        AND (NOT n.unless_unsent OR NOT EXISTS (SELECT FROM outbox AS o WHERE o.saga_id = n.id))
    RETURNING 1
),
keyed AS (
    -- A key that is taken ends the statement by its constraint; ON CONFLICT would write every key twice.
    INSERT INTO saga_key (definition, business_key, saga_id, input_hash)
    SELECT * FROM unnest($19::text::text[], $20::text[], $21::text::uuid[], $22::bytea[])
),
started AS (
    INSERT INTO saga (
        id, part, definition_id, created_at, business_key, traceparent, input,
        version, updated_at, deadline, wake_at, status, state, waits_at, hangs_at
    )
    SELECT
        b.id, b.part, b.definition_id, now(), b.business_key, b.traceparent, b.input, b.version, now(),
        to_timestamp(b.deadline_ms::double precision / 1000), to_timestamp(b.wake_ms::double precision / 1000),
        b.status, b.state, b.waits_at, CASE WHEN b.status = 'suspended' THEN b.waits_at END
    FROM unnest(
        $21::text::uuid[], $23::text::smallint[], $24::text::smallint[], $20::text[], $25::text::text[], $26::bytea[], $27::text::integer[],
        $28::text::bigint[], $29::text::text[], $30::bytea[], $88::text::text[], $89::text::bigint[]
    ) AS b (
        id, part, definition_id, business_key, traceparent, input, version, deadline_ms, status, state, waits_at, wake_ms
    )
),
labelled AS (
    INSERT INTO saga_label (name, value, saga_id) SELECT * FROM unnest($90::text[], $91::text[], $92::text::uuid[])
),
tallied AS (
    INSERT INTO saga_tally (definition_id, status, sagas)
    SELECT * FROM unnest($93::text::smallint[], $94::text::text[], $95::text::bigint[])
),
logged AS (
    INSERT INTO saga_log (saga_id, version, at, part, event, step_name, status, data)
    SELECT l.saga_id, l.version, now(), l.part, l.event, l.step_name, l.status, l.data
    FROM unnest(
        $31::text::uuid[], $32::text::integer[], $33::text::smallint[], $34::text::text[], $35::text::text[], $36::text::text[], $37::bytea[]
    ) AS l (saga_id, version, part, event, step_name, status, data)
),
sent AS (
    INSERT INTO outbox (
        saga_id, saga_version, position, part, created_at, destination, partition,
        type, traceparent, payload
    )
    SELECT
        o.saga_id, o.saga_version, o.position, o.part, now(), o.destination, o.partition,
        o.type, o.traceparent, o.payload
    FROM unnest(
        $38::text::uuid[], $39::text::integer[], $40::text::smallint[], $41::text::smallint[], $42::text::text[], $43::text::smallint[],
        $44::text::text[], $45::text::text[], $46::bytea[]
    ) AS o (saga_id, saga_version, position, part, destination, partition, type, traceparent, payload)
),
acknowledged AS (
    -- The rows are found one by one through the key: a planner that believes the outbox to be empty, as it often is
    -- when it is analysed, would otherwise walk all of it for every batch.
    DELETE FROM outbox AS o
    USING (
        SELECT found.ctid AS place
        FROM unnest($47::text::uuid[], $48::text::integer[], $49::text::smallint[]) AS a (saga_id, saga_version, position)
        CROSS JOIN LATERAL (
            SELECT x.ctid FROM outbox AS x
            WHERE x.saga_id = a.saga_id AND x.saga_version = a.saga_version AND x.position = a.position
            LIMIT 1
        ) AS found
    ) AS gone
    WHERE o.ctid = gone.place
),
dead AS (
    -- A record that was sent again and cannot be applied again is no new letter, but the old one's next chapter: what
    -- its header says is believed if it has the bytes of that letter.
    SELECT
        d.*, l.id AS known_as,
        now() + d.pause_ms * interval '1 millisecond' AS next_try_at
    FROM unnest(
        $50::text[], $51::text[], $52::text[], $53::text[], $54::text[], $55::smallint[], $56::bigint[],
        $57::bigint[], $58::bytea[], $59::bytea[], $60::integer[], $61::bytea[], $62::uuid[], $63::integer[],
        $64::text[], $78::boolean[], $79::bigint[], $80::bigint[], $81::integer[]
    ) AS d (
        kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset, key, value, value_length,
        headers, saga_id, saga_version, command_id, complete, pause_ms, letter_id, try
    )
    LEFT JOIN dead_letter AS l
        ON l.id = d.letter_id AND l.kind = 'record' AND l.topic = d.topic AND l.tries >= d.try
            AND octet_length(coalesce(l.edited_value, l.value)) IS NOT DISTINCT FROM d.value_length
            AND substring(coalesce(l.edited_value, l.value) FROM 1 FOR octet_length(d.value)) IS NOT DISTINCT FROM d.value
),
set_aside AS (
    INSERT INTO dead_letter (
        kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset,
        key, value, value_length, headers, saga_id, saga_version, command_id, complete, next_try_at
    )
    SELECT
        kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset,
        key, value, value_length, headers, saga_id, saga_version, command_id, complete, next_try_at
    FROM dead WHERE known_as IS NULL
    ON CONFLICT DO NOTHING
),
reopened AS (
    UPDATE dead_letter AS l
    SET state = 'open', reason = d.reason, detail = d.detail, saga_id = coalesce(d.saga_id, l.saga_id),
        next_try_at = d.next_try_at, changed_at = now(), changed_by = 'saga-coordinator',
        changed_because = 'try ' || d.try || ' was set aside again'
    FROM dead AS d
    WHERE l.id = d.known_as AND l.tries = d.try AND l.state = 'redriven'
),
opened AS (
    INSERT INTO incident (saga_id, saga_version, reason, step_name, detail)
    SELECT * FROM unnest($65::uuid[], $66::integer[], $67::text[], $68::text[], $69::text[])
    ON CONFLICT DO NOTHING
),
resolved AS (
    UPDATE incident AS i SET resolved_at = now(), resolved_by = r.by
    FROM unnest($70::uuid[], $71::text[]) AS r (saga_id, by)
    WHERE i.saga_id = r.saga_id AND i.resolved_at IS NULL
),
taken_up AS (
    -- A command's letter is closed by what a person does to its saga.
    UPDATE dead_letter AS l
    SET state = CASE WHEN m.status = 'abandoned' THEN 'discarded' ELSE 'redriven' END,
        changed_at = now(), changed_by = r.by, changed_because = 'the incidents of the saga were resolved'
    FROM unnest($70::uuid[], $71::text[]) AS r (saga_id, by)
    LEFT JOIN unnest($12::text::uuid[], $15::text::text[]) AS m (id, status) ON m.id = r.saga_id
    WHERE l.saga_id = r.saga_id AND l.kind <> 'record' AND l.state = 'open'
),
recovered AS (
    -- A command that had been given up for now has worked after all.
    UPDATE dead_letter AS l
    SET state = 'redriven', changed_at = now(), changed_by = 'recovery', changed_because = 'a later attempt worked'
    FROM unnest($82::text::uuid[], $83::text[]) AS w (saga_id, command_id)
    WHERE l.saga_id = w.saga_id AND l.command_id = w.command_id AND l.kind <> 'record' AND l.state = 'open'
),
audited AS (
    INSERT INTO audit_log (
        actor, action, saga_id, reason, version_before, version_after, request_id, state_before, state_after
    )
    SELECT
        a.actor, a.action, a.saga_id, a.reason, a.version_before, a.version_after, a.request_id,
        jsonb_build_object('status', a.status_before, 'version', a.version_before),
        jsonb_build_object('status', a.status_after, 'version', a.version_after)
    FROM unnest(
        $72::text[], $73::text[], $74::uuid[], $75::text[], $76::integer[], $77::integer[], $84::text[], $85::text[],
        $86::text[]
    ) AS a (
        actor, action, saga_id, reason, version_before, version_after, request_id, status_before, status_after
    )
)
SELECT
    CASE
        WHEN (SELECT count(*) FROM fenced) < cardinality($1::text::smallint[])
            THEN saga_refuse('SG410', 'a partition has another owner or another offset')
        WHEN (SELECT count(*) FROM moved) < cardinality($12::text::uuid[])
            THEN saga_refuse('SG409', 'a saga has moved on or its command is unsent')
    END AS refused,
    floor(extract(epoch FROM now()) * 1000)::bigint AS at_ms,
    floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
