-- owned_shards: how far each partition was read, and whether its owner was seen in the last $1 seconds.
SELECT
    s.part, s.next_offset, s.owner,
    EXISTS (
        SELECT FROM replica AS r
        WHERE r.id = s.owner AND r.seen_at > clock_timestamp() - $1::integer * interval '1 second'
    ) AS live
FROM shard AS s
ORDER BY s.part
