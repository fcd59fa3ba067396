-- Steps that flow control holds back (design section 3, rule 15), oldest saga first for each participant: whoever is to
-- release some finds them without a look at the sagas, of which there may be hundreds of thousands. A row goes when its
-- step was issued; one that is left over is harmless, for whoever finds it looks at the saga.
CREATE TABLE held_step (
    participant text NOT NULL,
    saga_id uuid NOT NULL,
    part smallint NOT NULL,
    held_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT a_saga_queues_once_for_each_participant PRIMARY KEY (participant, saga_id) INCLUDE (part)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)
