-- The oldest keys, which go after a day.
CREATE INDEX idempotency_key_age ON idempotency_key (created_at)
