-- Open problems of sagas that need a person: why, since when, and who closed them.
CREATE TABLE incident (
    saga_id uuid NOT NULL,
    saga_version integer NOT NULL,
    reason text NOT NULL,
    step_name text,
    detail text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    resolved_by text,
    CONSTRAINT a_transition_opens_one_incident_per_reason PRIMARY KEY (saga_id, saga_version, reason),
    CONSTRAINT a_resolved_incident_says_by_whom CHECK ((resolved_at IS NULL) = (resolved_by IS NULL))
)
