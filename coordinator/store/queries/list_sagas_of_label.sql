-- list_sagas_of_label: one page of the sagas that have all of some labels ($13 names, $14 values), newest first, and
-- with $15 an open incident of this reason. The label that the fewest have is walked along its range of the primary key,
-- over $12 sagas at most, and each is looked at: a walk that ends early ends the page, and `cut` says where. $1 to $11
-- as in list_sagas_by_status, statuses may be null.
-- OFFSET 0 keeps the planner from another order of the joins, which would read more.
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
rarest AS MATERIALIZED (
    SELECT x.name, x.value
    FROM unnest($13::text[], $14::text[]) AS x (name, value)
    ORDER BY CASE WHEN cardinality($13) > 1 THEN (
        SELECT count(*)
        FROM (
            SELECT FROM saga_label AS l
            WHERE l.name = x.name AND l.value = x.value AND l.saga_id < $1::uuid AND l.saga_id >= $2::uuid
            LIMIT $12
        ) AS few
    ) END
    LIMIT 1
),
candidates AS MATERIALIZED (
    SELECT newest.id
    FROM rarest AS x
    CROSS JOIN LATERAL (
        SELECT l.saga_id AS id
        FROM saga_label AS l
        WHERE l.name = x.name AND l.value = x.value AND l.saga_id < $1::uuid AND l.saga_id >= $2::uuid
        ORDER BY l.saga_id DESC
        LIMIT $12::integer
    ) AS newest
),
page AS (
    SELECT s.id
    FROM (SELECT id FROM candidates ORDER BY id DESC) AS c
    CROSS JOIN LATERAL (SELECT one.* FROM saga AS one WHERE one.id = c.id OFFSET 0) AS s
    CROSS JOIN LATERAL (SELECT one.letters FROM wanted AS one WHERE one.id = s.definition_id OFFSET 0) AS w
    WHERE s.created_at >= to_timestamp($3::bigint::double precision / 1000)
        AND s.created_at < to_timestamp($4::bigint::double precision / 1000)
        AND ($6::text[] IS NULL OR s.status = ANY($6))
        AND (w.letters IS NULL OR s.waits_at <> translate(s.waits_at, w.letters, ''))
        AND cardinality($13::text[]) = (
            SELECT count(*)
            FROM unnest($13::text[], $14::text[]) AS x (name, value)
            CROSS JOIN LATERAL (
                SELECT FROM saga_label AS l WHERE l.saga_id = s.id AND l.name = x.name AND l.value = x.value LIMIT 1
            ) AS found
        )
        AND ($15::text IS NULL OR (
            SELECT n.saga_id FROM incident AS n WHERE n.saga_id = s.id AND n.reason = $15 AND n.resolved_at IS NULL LIMIT 1
        ) IS NOT NULL)
    ORDER BY c.id DESC
    LIMIT $5
)
SELECT
    cut.id::text AS cut,
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    floor(extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    floor(extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM (
    SELECT CASE WHEN (SELECT count(*) FROM candidates) = $12 THEN (SELECT id FROM candidates ORDER BY id LIMIT 1) END AS id
) AS cut
LEFT JOIN (page JOIN saga AS s ON s.id = page.id JOIN saga_definition AS d ON d.id = s.definition_id) ON true
ORDER BY s.id DESC
