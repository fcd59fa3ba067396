-- survey_suspended: suspended sagas per definition. Each definition is a range of saga_list, read from the index alone.
SELECT d.id AS definition_id, found.sagas
FROM saga_definition AS d
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS sagas
    FROM saga AS s
    WHERE s.definition_id = d.id AND s.resting = 'suspended'
) AS found
WHERE found.sagas > 0
