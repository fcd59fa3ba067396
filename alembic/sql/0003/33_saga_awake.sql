-- The sagas in progress by definition, newest first. wake_at is lazy, so a step of a saga touches this index no more
-- than saga_wake.
CREATE INDEX saga_awake ON saga (definition_id, id) WHERE wake_at IS NOT NULL
