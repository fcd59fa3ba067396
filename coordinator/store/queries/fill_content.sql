-- fill_content: write the content of a version that was registered before contents were.
UPDATE saga_definition SET content = $2::bytea WHERE id = $1 AND content IS NULL
