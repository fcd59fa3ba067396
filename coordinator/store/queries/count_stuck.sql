-- count_stuck: sagas in progress that have been overdue for so many seconds, per definition. Served by saga_wake:
-- an overdue saga has a wake_at in the past. Observed sagas are of partition -1, which nobody owns.
SELECT definition_id, count(*)::integer AS sagas
FROM saga
WHERE wake_at IS NOT NULL
    AND part = ANY(ARRAY(SELECT part FROM shard) || -1::smallint)
    AND wake_at < clock_timestamp() - $1::integer * interval '1 second'
    AND deadline < clock_timestamp() - $1::integer * interval '1 second'
GROUP BY definition_id
