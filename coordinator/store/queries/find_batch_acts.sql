-- find_batch_acts: which of these sagas were acted on under a request's id, and to which version. Served by
-- audit_log_of_saga.
SELECT a.saga_id::text AS saga_id, max(a.version_after) AS version_after
FROM audit_log AS a
WHERE a.saga_id = ANY($1::uuid[]) AND a.request_id = $2
GROUP BY a.saga_id
