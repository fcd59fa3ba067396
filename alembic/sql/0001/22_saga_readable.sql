-- Sagas for people: the hot columns hold JSON text as bytes, this view shows it.
CREATE VIEW saga_readable AS
SELECT
    s.id, d.name AS definition, d.version AS definition_version, s.business_key, s.status, s.version,
    s.created_at, s.updated_at, s.deadline, s.part,
    convert_from(s.input, 'UTF8')::jsonb AS input,
    convert_from(s.state, 'UTF8')::jsonb AS state
FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id
