-- forget_replicas: delete one replica, which has ended, and those that were not seen for an hour.
DELETE FROM replica WHERE id = $1 OR seen_at < clock_timestamp() - interval '1 hour'
