-- How many sagas there are, by definition and status: the sum over rows. Whoever begins sagas or changes their status
-- adds a row per pair in the same statement; nobody updates one, so nobody waits for it. A chore folds them.
CREATE TABLE saga_tally (
    definition_id smallint NOT NULL,
    status text NOT NULL,
    sagas bigint NOT NULL,
    CONSTRAINT a_tally_counts_a_word_of_the_dictionary CHECK (status IN (
        'scheduled', 'started', 'pending', 'compensating', 'suspended', 'completed', 'failed', 'abandoned'))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0)
