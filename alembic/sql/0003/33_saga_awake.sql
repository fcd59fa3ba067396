-- The sagas in progress, newest first. wake_at is lazy, so a step of a saga touches this index no more than saga_wake.
CREATE INDEX saga_awake ON saga (id) WHERE wake_at IS NOT NULL
