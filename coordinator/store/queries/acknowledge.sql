-- acknowledge: delete messages that Kafka has, when no batch comes along to do it. Found one by one through the key,
-- for the reason that commit_batch gives.
DELETE FROM outbox AS o
USING (
    SELECT found.ctid AS place
    FROM unnest($1::uuid[], $2::integer[], $3::smallint[]) AS a (saga_id, saga_version, position)
    CROSS JOIN LATERAL (
        SELECT x.ctid FROM outbox AS x
        WHERE x.saga_id = a.saga_id AND x.saga_version = a.saga_version AND x.position = a.position
        LIMIT 1
    ) AS found
) AS gone
WHERE o.ctid = gone.place
