-- An incident has an id of its own, and somebody who looks after it. `acts` counts what people did to it: whoever looked
-- at it can ask that nobody has acted since.
ALTER TABLE incident
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT an_incident_is_known_by_its_id UNIQUE,
    ADD COLUMN assignee text,
    ADD COLUMN assigned_at timestamptz,
    ADD COLUMN resolved_because text,
    ADD COLUMN acts integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT an_assigned_incident_says_since_when CHECK ((assignee IS NULL) = (assigned_at IS NULL)),
    ADD CONSTRAINT an_open_incident_has_no_end CHECK (resolved_at IS NOT NULL OR resolved_because IS NULL),
    ADD CONSTRAINT acts_are_counted_from_none CHECK (acts >= 0)
