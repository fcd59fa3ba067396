-- One row per saga. What never changes stands first and what changes stands together behind it, so that an
-- update's WAL record holds little more than the changed part. The fill factor leaves room for HOT updates.
-- resting is the status of a saga that waits for nothing, and null while it is in progress: an index on it is touched
-- when a saga comes to rest, not with every change of its status.
-- definition_id is no foreign key: its check would lock the same few definition rows with every start.
CREATE TABLE saga (
    id uuid NOT NULL,
    part smallint NOT NULL,
    definition_id smallint NOT NULL,
    created_at timestamptz NOT NULL,
    business_key text NOT NULL,
    traceparent text,
    input bytea NOT NULL,
    version integer NOT NULL,
    updated_at timestamptz NOT NULL,
    deadline timestamptz,
    wake_at timestamptz,
    status text NOT NULL,
    resting text GENERATED ALWAYS AS (
        CASE WHEN status IN ('suspended', 'completed', 'failed', 'abandoned') THEN status END) STORED,
    state bytea NOT NULL,
    CONSTRAINT a_saga_is_known_by_its_id PRIMARY KEY (id),
    CONSTRAINT versions_count_transitions_from_one CHECK (version >= 1),
    CONSTRAINT a_status_is_a_word_of_the_dictionary CHECK (status IN (
        'scheduled', 'started', 'pending', 'compensating', 'suspended', 'completed', 'failed', 'abandoned')),
    CONSTRAINT a_finished_or_suspended_saga_waits_for_nothing CHECK (resting IS NULL OR wake_at IS NULL),
    CONSTRAINT a_saga_in_progress_has_something_to_wake_for CHECK (resting IS NOT NULL OR wake_at IS NOT NULL),
    CONSTRAINT a_saga_wakes_no_later_than_its_deadline CHECK (wake_at <= deadline)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
)
