-- read_contents: every content that a version ever had, whether it is the present one ($3 is that of the caller), how
-- many sagas are in flight on it, and which replicas that were seen in the last $4 seconds run it. Called at start-up
-- under lock_definitions. Sagas are counted on other contents only; those in progress by saga_wake, which has them
-- all, and those suspended by saga_list.
SELECT
    d.id, d.content, d.replaced_at IS NULL AS present,
    CASE WHEN d.content <> $3::bytea THEN
        (SELECT count(*) FROM saga AS s WHERE s.wake_at IS NOT NULL AND s.definition_id = d.id)
        + (SELECT count(*) FROM saga AS s WHERE s.definition_id = d.id AND s.resting = 'suspended')
    ELSE 0 END AS in_flight,
    ARRAY(
        SELECT r.id FROM replica AS r
        WHERE r.seen_at > clock_timestamp() - $4::integer * interval '1 second' AND d.id = ANY(r.definition_ids)
        ORDER BY r.id
    ) AS replicas
FROM saga_definition AS d
WHERE d.name = $1 AND d.version = $2
ORDER BY d.id
