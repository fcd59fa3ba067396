-- claim_shards: become the owner of partitions: a new epoch, so that whoever owned them before writes no more.
-- A row of another Kafka cluster begins anew at the partition's first offset.
INSERT INTO shard AS s (part, epoch, owner, claimed_at, cluster_id, first_offset, next_offset)
SELECT x.part, 1, $3, now(), $4, x.first_offset, x.first_offset
FROM unnest($1::smallint[], $2::bigint[]) AS x (part, first_offset)
ORDER BY x.part
ON CONFLICT (part) DO UPDATE SET
    epoch = s.epoch + 1,
    owner = excluded.owner,
    claimed_at = now(),
    cluster_id = excluded.cluster_id,
    first_offset = CASE WHEN s.cluster_id = excluded.cluster_id THEN s.first_offset ELSE excluded.first_offset END,
    next_offset = CASE WHEN s.cluster_id = excluded.cluster_id THEN s.next_offset ELSE excluded.next_offset END,
    applied = CASE WHEN s.cluster_id = excluded.cluster_id THEN s.applied ELSE 0 END,
    duplicate = CASE WHEN s.cluster_id = excluded.cluster_id THEN s.duplicate ELSE 0 END,
    stale = CASE WHEN s.cluster_id = excluded.cluster_id THEN s.stale ELSE 0 END,
    "foreign" = CASE WHEN s.cluster_id = excluded.cluster_id THEN s."foreign" ELSE 0 END,
    quarantined = CASE WHEN s.cluster_id = excluded.cluster_id THEN s.quarantined ELSE 0 END
RETURNING part, epoch, next_offset, floor(extract(epoch FROM events_through) * 1000)::bigint AS events_through_ms
