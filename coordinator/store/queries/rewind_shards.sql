-- rewind_shards: the recorded offset lies outside of what the partition holds: begin again at its first record.
-- Guards make the replay harmless. The verdicts count anew, as they count offsets. A new epoch, for the offset alone would
-- let a late batch of before pass once it is reached again. Answers the partitions that were in the epoch given.
UPDATE shard AS s
SET epoch = s.epoch + 1, first_offset = x.first_offset, next_offset = x.first_offset,
    applied = 0, duplicate = 0, stale = 0, "foreign" = 0, quarantined = 0
FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS x (part, epoch, first_offset)
WHERE s.part = x.part AND s.epoch = x.epoch
RETURNING s.part, s.epoch
