-- set_present: say whether a content is the present one of its version.
UPDATE saga_definition SET replaced_at = CASE WHEN $2::boolean THEN NULL ELSE clock_timestamp() END WHERE id = $1
