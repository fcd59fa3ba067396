-- fold_tally: let one row stand for all rows of a definition and status. What others add meanwhile stays beside it, and
-- of two that fold at once each takes its own rows, so the sums stay what they are. Not while somebody recounts, who
-- would count what was folded meanwhile twice.
WITH alone AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(7203911846) AS may
),
gone AS (
    DELETE FROM saga_tally AS t USING alone WHERE alone.may RETURNING t.definition_id, t.status, t.sagas
)
INSERT INTO saga_tally (definition_id, status, sagas)
SELECT definition_id, status, sum(sagas) FROM gone GROUP BY definition_id, status HAVING sum(sagas) <> 0
