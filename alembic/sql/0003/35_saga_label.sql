-- What clients call their sagas, to find them again: the sagas of a label, newest first, and the labels of a saga.
CREATE TABLE saga_label (
    name text NOT NULL,
    value text NOT NULL,
    saga_id uuid NOT NULL,
    CONSTRAINT a_label_is_on_a_saga_once PRIMARY KEY (name, value, saga_id),
    CONSTRAINT a_saga_has_one_value_per_label UNIQUE (saga_id, name),
    CONSTRAINT a_label_has_a_name_and_a_value CHECK (name <> '' AND value <> '')
)
