-- list_definitions: every content that was ever registered, with how many sagas run on it: those in flight, counted
-- once for all along saga_wake, which holds as many as are in progress, and those suspended, a range of saga_list each.
-- A content that was replaced is shown while sagas run on it. $1 as in read_definitions.
WITH awake AS MATERIALIZED (
    SELECT s.definition_id, count(*) AS sagas FROM saga AS s WHERE s.wake_at IS NOT NULL GROUP BY s.definition_id
),
live AS MATERIALIZED (
    SELECT r.definition_ids FROM replica AS r
    WHERE r.seen_at > clock_timestamp() - $1::integer * interval '1 second'
),
counted AS (
    SELECT
        d.id, d.name, d.version, d.content_hash, d.replaced_at IS NOT NULL AS replaced,
        coalesce((SELECT a.sagas FROM awake AS a WHERE a.definition_id = d.id), 0) AS awake,
        (SELECT count(*) FROM saga AS s WHERE s.definition_id = d.id AND s.resting = 'suspended') AS suspended,
        (SELECT count(*) FROM live AS l WHERE d.id = ANY(l.definition_ids)) AS known_by,
        (SELECT count(*) FROM live) AS replicas
    FROM saga_definition AS d
)
SELECT
    c.name, c.version, encode(c.content_hash, 'hex') AS content_hash, c.replaced,
    c.awake + c.suspended AS in_flight, c.suspended, c.known_by, c.replicas
FROM counted AS c
WHERE NOT c.replaced OR c.awake + c.suspended > 0 OR c.known_by > 0
ORDER BY c.name, c.version, c.id
