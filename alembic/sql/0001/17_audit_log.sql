-- What people did to sagas: who, what, why, and the versions before and after. Append-only.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT an_act_is_known_by_its_id PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    saga_id uuid NOT NULL,
    reason text NOT NULL,
    version_before integer NOT NULL,
    version_after integer NOT NULL,
    CONSTRAINT an_act_has_a_reason CHECK (length(btrim(reason)) > 0),
    CONSTRAINT an_act_moves_the_saga CHECK (version_after > version_before)
)
