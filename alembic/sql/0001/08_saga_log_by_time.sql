-- What happened since a moment, for catching up with lifecycle events; block ranges cost next to nothing.
CREATE INDEX saga_log_by_time ON saga_log USING brin (at) WITH (pages_per_range = 16)
