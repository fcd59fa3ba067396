-- What each engine process knows of each participant, written every few seconds: added up, it is how the participant
-- does. A row that was not written for a while is of a process that is gone.
CREATE TABLE participant_state (
    process text NOT NULL,
    participant text NOT NULL,
    at timestamptz NOT NULL,
    state jsonb NOT NULL,
    CONSTRAINT a_process_says_one_thing_of_a_participant PRIMARY KEY (participant, process)
)
