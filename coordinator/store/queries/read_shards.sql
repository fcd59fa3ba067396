-- read_shards: who owns these partitions now, and how far they were read.
SELECT part, epoch, owner, cluster_id, next_offset FROM shard WHERE part = ANY($1::smallint[])
