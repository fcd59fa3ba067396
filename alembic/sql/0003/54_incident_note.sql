-- What people found out about incidents; rows are only added.
CREATE TABLE incident_note (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT a_note_is_known_by_its_id PRIMARY KEY,
    incident_id bigint NOT NULL
        CONSTRAINT a_note_belongs_to_an_incident REFERENCES incident (id),
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    text text NOT NULL,
    CONSTRAINT a_note_says_something CHECK (length(btrim(text)) > 0)
)
