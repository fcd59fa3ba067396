-- What sagas wait for that have begun before the columns were there; observed ones say it with their next transition.
UPDATE saga AS s
SET waits_at = open.letters, hangs_at = CASE WHEN s.status = 'suspended' THEN open.letters END
FROM (
    SELECT
        o.id,
        string_agg(
            substr('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_', x.place::integer, 1), '' ORDER BY x.place
        ) FILTER (
            WHERE x.step ->> 'deadline_ms' IS NOT NULL
                OR o.status = 'suspended' AND (
                    x.step ->> 'outcome' IN ('issued', 'backing_off')
                    OR x.step ->> 'undo' IN ('issued', 'backing_off', 'dead_lettered')
                    OR x.step ->> 'problem' = 'true'
                    OR o.state ->> 'facing' IS DISTINCT FROM 'backward' AND x.step ->> 'outcome' IN ('unknown', 'failed')
                )
        ) AS letters
    FROM (
        SELECT w.id, w.status, convert_from(w.state, 'UTF8')::jsonb AS state
        FROM saga AS w
        WHERE w.part >= 0 AND w.status NOT IN ('completed', 'failed', 'abandoned')
    ) AS o
    LEFT JOIN LATERAL jsonb_array_elements(o.state -> 'steps') WITH ORDINALITY AS x (step, place) ON true
    GROUP BY o.id
) AS open
WHERE s.id = open.id
