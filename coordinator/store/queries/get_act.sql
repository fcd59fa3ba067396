-- get_act: whether the verb $2 on a saga at this version was this person's with this reason. Served by audit_log_of_saga.
-- A version is left once only, so there is at most one such row.
SELECT 1 AS found
FROM audit_log
WHERE saga_id = $1::uuid AND action = $2 AND version_before = $3 AND actor = $4 AND reason = $5
