-- list_sagas_of_key: the sagas of a business key ($12), one per definition name at most. Served by the primary key of
-- saga_key. $1 to $11 as in list_sagas_by_status, statuses may be null; $13 and $14 are labels, $15 the reason of an open
-- incident.
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
)
SELECT
    NULL AS cut,
    s.id::text AS id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    floor(extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
    floor(extract(epoch FROM s.updated_at) * 1000)::bigint AS updated_ms,
    floor(extract(epoch FROM s.deadline) * 1000)::bigint AS deadline_ms
FROM (SELECT DISTINCT n.name FROM wanted AS n) AS names
JOIN saga_key AS k ON k.definition = names.name AND k.business_key = $12
JOIN saga AS s ON s.id = k.saga_id
JOIN wanted AS w ON w.id = s.definition_id
JOIN saga_definition AS d ON d.id = s.definition_id
WHERE s.id < $1::uuid AND s.id >= $2::uuid
    AND s.created_at >= to_timestamp($3::bigint::double precision / 1000)
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
ORDER BY s.id DESC
LIMIT $5
