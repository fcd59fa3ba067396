-- logged: the log's entries of these sagas at these versions, of the last minutes: was a statement committed of which
-- nothing was heard? Served by saga_log_of_saga.
SELECT l.saga_id::text AS saga_id, l.version, l.data
FROM unnest($1::uuid[], $2::integer[]) AS x (saga_id, version)
JOIN saga_log AS l ON l.saga_id = x.saga_id AND l.version = x.version
WHERE l.at > clock_timestamp() - interval '10 minutes'
