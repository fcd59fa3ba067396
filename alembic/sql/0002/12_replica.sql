-- The processes of the coordinator and the definitions that each can run. One that was not seen for some seconds does
-- not count; its row is only a memory.
CREATE TABLE replica (
    id text CONSTRAINT a_replica_is_known_by_its_id PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    definition_ids smallint[] NOT NULL
)
