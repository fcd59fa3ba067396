-- Every process reads the valid keys about once a second; revoked ones stay for the record and cost nothing there.
CREATE INDEX api_key_valid ON api_key (id) WHERE revoked_at IS NULL
