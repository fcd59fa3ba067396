-- find_keys: which of these business keys are taken, and by which sagas with which input. Served by the primary key.
SELECT k.definition, k.business_key, k.saga_id::text AS saga_id, k.input_hash
FROM unnest($1::text[], $2::text[]) AS w (definition, business_key)
JOIN saga_key AS k ON k.definition = w.definition AND k.business_key = w.business_key
