-- recount_tally: put the counts of all sagas in the place of the tallies, both as of one snapshot: whoever moves a saga
-- meanwhile adds his row beside them. Reads an index of those at rest, and the rows of those in progress.
WITH gone AS (
    DELETE FROM saga_tally
)
INSERT INTO saga_tally (definition_id, status, sagas)
SELECT definition_id, resting, count(*) FROM saga WHERE resting IS NOT NULL GROUP BY definition_id, resting
UNION ALL
SELECT definition_id, status, count(*) FROM saga WHERE wake_at IS NOT NULL GROUP BY definition_id, status
