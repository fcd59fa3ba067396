-- What became of a dead letter. A letter is open until somebody acts on it; `redriven` with a next_try_at is on its way
-- to Kafka, and open with a next_try_at waits for its next automatic try. `complete` says that key, value and headers
-- are kept uncut, so that the record can be sent again as it came; what a person edited stands beside the original.
ALTER TABLE dead_letter
    ADD COLUMN state text NOT NULL DEFAULT 'open',
    ADD COLUMN complete boolean NOT NULL DEFAULT false,
    ADD COLUMN tries integer NOT NULL DEFAULT 0,
    ADD COLUMN next_try_at timestamptz,
    ADD COLUMN edited_value bytea,
    ADD COLUMN edited_headers bytea,
    ADD COLUMN changed_at timestamptz,
    ADD COLUMN changed_by text,
    ADD COLUMN changed_because text,
    ADD CONSTRAINT a_dead_letter_is_open_redriven_or_discarded CHECK (state IN ('open', 'redriven', 'discarded')),
    ADD CONSTRAINT tries_are_counted_from_none CHECK (tries >= 0),
    ADD CONSTRAINT a_discarded_letter_is_left_alone CHECK (state <> 'discarded' OR next_try_at IS NULL),
    ADD CONSTRAINT only_a_whole_record_is_sent_again CHECK (
        next_try_at IS NULL OR (kind = 'record' AND (complete OR edited_value IS NOT NULL))),
    ADD CONSTRAINT a_change_of_a_letter_says_who_and_why CHECK (
        num_nonnulls(changed_at, changed_by, changed_because) IN (0, 3))
