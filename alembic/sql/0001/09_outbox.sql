-- Messages that are committed and not known to be on Kafka. A row goes only after Kafka acknowledged it.
CREATE TABLE outbox (
    saga_id uuid NOT NULL,
    saga_version integer NOT NULL,
    position smallint NOT NULL,
    part smallint NOT NULL,
    created_at timestamptz NOT NULL,
    destination text NOT NULL,
    partition smallint NOT NULL,
    type text NOT NULL,
    traceparent text,
    payload bytea NOT NULL,
    CONSTRAINT a_message_is_known_by_the_transition_that_caused_it
        PRIMARY KEY (saga_id, saga_version, position)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
)
