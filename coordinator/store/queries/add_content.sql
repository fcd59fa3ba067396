-- add_content: give a content of a version its small id. The content that was the present one has been set so before.
INSERT INTO saga_definition (name, version, content) VALUES ($1, $2, $3)
RETURNING id
