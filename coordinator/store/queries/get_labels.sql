-- get_labels: the labels of some sagas. Served by the key that gives a saga one value per label.
SELECT saga_id::text AS saga_id, name, value FROM saga_label WHERE saga_id = ANY($1::uuid[]) ORDER BY saga_id, name
