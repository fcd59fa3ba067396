-- The request that an act came with, as the logs and the answer name it.
ALTER TABLE audit_log ADD COLUMN request_id text NOT NULL DEFAULT ''
