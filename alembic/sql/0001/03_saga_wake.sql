-- What wakes next in a partition. wake_at is lazy: a later deadline leaves it alone, so moving one is HOT.
CREATE INDEX saga_wake ON saga (part, wake_at) WHERE wake_at IS NOT NULL
