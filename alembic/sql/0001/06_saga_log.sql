-- Every transition of every saga, append-only: entry n was built on entry n-1. Dropped by age, day by day.
CREATE TABLE saga_log (
    saga_id uuid NOT NULL,
    version integer NOT NULL,
    at timestamptz NOT NULL,
    part smallint NOT NULL,
    event text NOT NULL,
    step_name text,
    status text NOT NULL,
    data bytea NOT NULL
) PARTITION BY RANGE (at)
