-- Suspended sagas by the steps at which they hang, newest first.
CREATE INDEX saga_hangs ON saga (definition_id, hangs_at, id) WHERE hangs_at IS NOT NULL
