-- read_definitions: all contents ever registered, whether each is the present one of its version, and which replicas
-- that were seen in the last $1 seconds cannot run it.
SELECT
    d.id, d.name, d.version, d.replaced_at IS NULL AS present,
    ARRAY(
        SELECT r.id FROM replica AS r
        WHERE r.seen_at > clock_timestamp() - $1::integer * interval '1 second' AND d.id <> ALL(r.definition_ids)
        ORDER BY r.id
    ) AS lacking
FROM saga_definition AS d
ORDER BY d.id
