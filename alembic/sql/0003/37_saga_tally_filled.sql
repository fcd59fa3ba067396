-- What there is already.
INSERT INTO saga_tally (definition_id, status, sagas)
SELECT definition_id, status, count(*) FROM saga GROUP BY definition_id, status
