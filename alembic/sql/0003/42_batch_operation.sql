-- A verb for many sagas: what was asked, by whom and why, and how far it is. `owned_until` is the lease of the process that
-- does it. `scope` are the definitions that the one who asked may know of; null means all. A confirmation is used once.
CREATE TABLE batch_operation (
    id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    reason text NOT NULL,
    verb text NOT NULL,
    members jsonb NOT NULL,
    filter jsonb NOT NULL,
    statuses text[] NOT NULL,
    scope text[],
    confirmation bytea NOT NULL,
    rate integer NOT NULL,
    total integer NOT NULL,
    state text NOT NULL DEFAULT 'running',
    done integer NOT NULL DEFAULT 0,
    refused integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    owner text,
    owned_until timestamptz,
    CONSTRAINT a_batch_operation_is_known_by_its_id PRIMARY KEY (id),
    CONSTRAINT a_confirmation_begins_one_batch_operation UNIQUE (confirmation),
    CONSTRAINT a_batch_operation_has_a_reason CHECK (length(btrim(reason)) > 0),
    CONSTRAINT a_batch_operation_is_in_a_known_state CHECK (state IN ('running', 'paused', 'cancelled', 'done')),
    CONSTRAINT a_batch_operation_moves_at_some_rate CHECK (rate >= 1),
    CONSTRAINT outcomes_are_of_the_sagas_that_were_confirmed CHECK (done + refused + failed <= total),
    CONSTRAINT a_batch_operation_ends_when_it_is_done_or_cancelled CHECK (
        (ended_at IS NOT NULL) = (state IN ('cancelled', 'done')))
)
