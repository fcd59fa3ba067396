-- get_retry: whether a saga's retry at this version was this person's with this reason. Served by audit_log_of_saga.
-- A version is left once only, so there is at most one such row.
SELECT 1 AS found
FROM audit_log
WHERE saga_id = $1::uuid AND action = 'retry' AND version_before = $2 AND actor = $3 AND reason = $4
