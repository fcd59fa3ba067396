-- read_definitions: all contents ever registered, whether each is the present one of its version, and of the replicas
-- that were seen in the last $1 seconds: whether any can run it, and which cannot.
SELECT
    d.id, d.name, d.version, d.replaced_at IS NULL AS present,
    EXISTS (
        SELECT FROM replica AS r
        WHERE r.seen_at > clock_timestamp() - $1::integer * interval '1 second' AND d.id = ANY(r.definition_ids)
    ) AS runs,
    ARRAY(
        SELECT r.id FROM replica AS r
        WHERE r.seen_at > clock_timestamp() - $1::integer * interval '1 second' AND d.id <> ALL(r.definition_ids)
        ORDER BY r.id
    ) AS lacking
FROM saga_definition AS d
ORDER BY d.id
