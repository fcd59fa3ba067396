-- release_sagas: sagas that do not queue for a participant any more, as far as they were held before a moment ($3): this
-- statement may come late, when they are held anew. Neither may it come from an owner of before, whose memory of a saga
-- is old: only partitions count that are in the epochs given ($4, $5). Found one by one through the key, for the reason
-- that commit_batch gives. Answers how many did.
WITH ours AS (
    SELECT s.part
    FROM shard AS s
    JOIN unnest($4::smallint[], $5::bigint[]) AS o (part, epoch) ON s.part = o.part AND s.epoch = o.epoch
),
gone AS (
    DELETE FROM held_step AS h
    USING (
        SELECT found.ctid AS place
        FROM unnest($2::uuid[]) AS x (saga_id)
        CROSS JOIN LATERAL (
            SELECT y.ctid FROM held_step AS y WHERE y.participant = $1 AND y.saga_id = x.saga_id
                AND y.held_at < to_timestamp($3::bigint::double precision / 1000)
                AND y.part IN (SELECT part FROM ours)
            LIMIT 1
        ) AS found
    ) AS left_over
    -- Looked at again if somebody has held it meanwhile: a place alone would be followed to the new row.
    WHERE h.ctid = left_over.place AND h.held_at < to_timestamp($3::bigint::double precision / 1000)
    RETURNING 1
)
SELECT count(*)::integer AS sagas FROM gone
