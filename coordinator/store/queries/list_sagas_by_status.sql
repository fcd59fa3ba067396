-- list_sagas_by_status: one page of the sagas in some statuses ($6), newest first, of the definitions that fit $7 (name),
-- $8 (version) and $9 (names that may be known of), and with $10 (step) or $11 (participant) of those that wait or hang
-- there. $1 to $5 as in list_sagas. Nothing is read that grows with the number of sagas:
-- at rest, each pair of definition and status is a range of saga_list that is read from its end, and with a step each
-- pair of definition and set of steps one of saga_hangs. Rows are compared as a whole because the planner, given
-- equalities, thinks a rare status as frequent as any and walks the primary key. In progress, saga_awake is walked from
-- its end, over $12 sagas at most: a walk that finds too few in them ends the page, and `cut` says where.
WITH wanted AS MATERIALIZED (
    SELECT w.id, w.name, steps.letters
    FROM saga_definition AS w
    LEFT JOIN LATERAL (
        SELECT string_agg(
            substr('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_', x.place::integer, 1), ''
        ) AS letters
        FROM convert_from(w.content, 'UTF8') AS content (text)
        CROSS JOIN LATERAL jsonb_array_elements(
            coalesce(content.text::jsonb -> 'steps', content.text::jsonb -> 'events')
        ) WITH ORDINALITY AS x (step, place)
        WHERE ($10::text IS NULL OR coalesce(x.step ->> 'name', x.step ->> 'type') = $10)
            AND ($11::text IS NULL OR coalesce(x.step ->> 'participant', x.step ->> 'source') = $11)
            AND ($10 IS NOT NULL OR $11 IS NOT NULL)
    ) AS steps ON true
    WHERE ($7::text IS NULL OR w.name = $7)
        AND ($8::integer IS NULL OR w.version = $8)
        AND ($9::text[] IS NULL OR w.name = ANY($9))
        AND (steps.letters IS NOT NULL OR ($10 IS NULL AND $11 IS NULL))
),
resting AS (
    SELECT newest.id
    FROM wanted AS w
    CROSS JOIN unnest($6::text[]) AS x (status)
    CROSS JOIN LATERAL (
        SELECT i.id
        FROM saga AS i
        WHERE i.resting IS NOT NULL
            AND (i.definition_id, i.resting, i.id) < (w.id, x.status, $1::uuid)
            AND (i.definition_id, i.resting, i.id) >= (w.id, x.status, $2::uuid)
            AND i.created_at >= to_timestamp($3::bigint::double precision / 1000)
            AND i.created_at < to_timestamp($4::bigint::double precision / 1000)
        ORDER BY i.definition_id DESC, i.resting DESC, i.id DESC
        LIMIT $5
    ) AS newest
    WHERE w.letters IS NULL
),
places AS MATERIALIZED (
    SELECT w.id AS definition_id, v.hangs_at
    FROM wanted AS w
    CROSS JOIN LATERAL (
        WITH RECURSIVE sets AS (
            (
                SELECT i.hangs_at FROM saga AS i
                WHERE i.hangs_at IS NOT NULL AND i.definition_id = w.id
                ORDER BY i.definition_id, i.hangs_at
                LIMIT 1
            )
            UNION ALL
            SELECT following.hangs_at
            FROM sets
            CROSS JOIN LATERAL (
                SELECT i.hangs_at FROM saga AS i
                WHERE i.hangs_at IS NOT NULL AND i.definition_id = w.id AND i.hangs_at > sets.hangs_at
                ORDER BY i.definition_id, i.hangs_at
                LIMIT 1
            ) AS following
        )
        SELECT hangs_at FROM sets
    ) AS v
    WHERE w.letters IS NOT NULL AND v.hangs_at <> translate(v.hangs_at, w.letters, '') AND 'suspended' = ANY($6)
),
hanging AS (
    SELECT newest.id
    FROM places AS p
    CROSS JOIN LATERAL (
        SELECT i.id
        FROM saga AS i
        WHERE i.hangs_at IS NOT NULL AND i.status = 'suspended'
            AND (i.definition_id, i.hangs_at, i.id) < (p.definition_id, p.hangs_at, $1::uuid)
            AND (i.definition_id, i.hangs_at, i.id) >= (p.definition_id, p.hangs_at, $2::uuid)
            AND i.created_at >= to_timestamp($3::bigint::double precision / 1000)
            AND i.created_at < to_timestamp($4::bigint::double precision / 1000)
        ORDER BY i.definition_id DESC, i.hangs_at DESC, i.id DESC
        LIMIT $5
    ) AS newest
),
share AS MATERIALIZED (
    SELECT greatest($12::integer / greatest(count(*), 1), 200) AS sagas FROM wanted
),
walked AS MATERIALIZED (
    SELECT newest.*
    FROM wanted AS w
    CROSS JOIN LATERAL (
        SELECT i.id, i.fits, i.number = (SELECT sagas FROM share) AS last
        FROM (
            SELECT
                a.id, row_number() OVER () AS number,
                a.status = ANY($6)
                    AND (w.letters IS NULL OR a.waits_at <> translate(a.waits_at, w.letters, ''))
                    AND a.created_at >= to_timestamp($3::bigint::double precision / 1000)
                    AND a.created_at < to_timestamp($4::bigint::double precision / 1000) AS fits
            FROM (
                SELECT s.id, s.status, s.created_at, s.waits_at
                FROM saga AS s
                WHERE s.wake_at IS NOT NULL
                    AND (s.definition_id, s.id) < (w.id, $1::uuid) AND (s.definition_id, s.id) >= (w.id, $2::uuid)
                ORDER BY s.definition_id DESC, s.id DESC
                LIMIT (SELECT sagas FROM share)
            ) AS a
        ) AS i
        WHERE i.fits OR i.number = (SELECT sagas FROM share)
        LIMIT $5
    ) AS newest
    WHERE $6 && ARRAY['scheduled', 'started', 'pending', 'compensating']
),
cut AS MATERIALIZED (
    SELECT (SELECT w.id FROM walked AS w WHERE w.last ORDER BY w.id DESC LIMIT 1) AS id
),
progressing AS (
    SELECT w.id FROM walked AS w WHERE w.fits ORDER BY w.id DESC LIMIT $5
),
page AS (
    SELECT found.id
    FROM (SELECT id FROM resting UNION ALL SELECT id FROM hanging UNION ALL SELECT id FROM progressing) AS found
    CROSS JOIN cut
    WHERE cut.id IS NULL OR found.id >= cut.id
    ORDER BY found.id DESC
    LIMIT $5
)
SELECT
    cut.id::text AS cut,
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    floor(extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    floor(extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM cut
LEFT JOIN (page JOIN saga AS s ON s.id = page.id JOIN saga_definition AS d ON d.id = s.definition_id) ON true
ORDER BY s.id DESC
