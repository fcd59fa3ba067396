-- get_log: the history of one saga, page by page. Served by saga_log_of_saga; days before the saga began are skipped.
SELECT
    version, floor(extract(epoch FROM at) * 1000)::bigint AS at_ms, event, step_name, status, data
FROM saga_log
WHERE saga_id = $1::uuid AND at >= (SELECT s.created_at FROM saga AS s WHERE s.id = $1::uuid) AND version > $2
ORDER BY version
LIMIT $3
