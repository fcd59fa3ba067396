-- Records that cannot be read and compensations that automation has given up on for now, with their raw bytes.
CREATE TABLE dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT a_dead_letter_is_known_by_its_id PRIMARY KEY,
    kind text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL,
    detail text NOT NULL,
    cluster_id text,
    topic text NOT NULL,
    partition smallint NOT NULL,
    first_offset bigint,
    next_offset bigint,
    key bytea,
    value bytea,
    value_length integer,
    headers bytea NOT NULL,
    saga_id uuid,
    saga_version integer,
    command_id text,
    on_topic boolean NOT NULL DEFAULT false,
    CONSTRAINT a_dead_letter_is_a_record_or_a_compensation CHECK (kind IN ('record', 'compensation')),
    CONSTRAINT a_record_says_where_it_came_from CHECK (
        kind <> 'record'
        OR (cluster_id IS NOT NULL AND first_offset IS NOT NULL AND next_offset > first_offset)),
    CONSTRAINT a_compensation_says_whose_it_is CHECK (
        kind <> 'compensation'
        OR (saga_id IS NOT NULL AND saga_version IS NOT NULL AND command_id IS NOT NULL))
)
