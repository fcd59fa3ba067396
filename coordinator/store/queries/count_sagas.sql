-- count_sagas: how many sagas there are by definition and status, and version: a sum over a few rows. $1 is a
-- definition's name, $2 the names that may be known of.
SELECT d.name, d.version, t.status, sum(t.sagas)::bigint AS sagas
FROM saga_tally AS t JOIN saga_definition AS d ON d.id = t.definition_id
WHERE ($1::text IS NULL OR d.name = $1) AND ($2::text[] IS NULL OR d.name = ANY($2))
GROUP BY d.name, d.version, t.status
HAVING sum(t.sagas) <> 0
ORDER BY d.name, d.version, t.status
