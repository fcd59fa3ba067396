-- Given up for now is not only an undo: an action past the point of no return is set aside in the same way. The kind of
-- a command is its direction.
ALTER TABLE dead_letter
    DROP CONSTRAINT a_dead_letter_is_a_record_or_a_compensation,
    ADD CONSTRAINT a_dead_letter_is_a_record_or_a_command CHECK (kind IN ('record', 'action', 'compensation')),
    DROP CONSTRAINT a_compensation_says_whose_it_is,
    ADD CONSTRAINT a_command_says_whose_it_is CHECK (
        kind = 'record'
        OR (saga_id IS NOT NULL AND saga_version IS NOT NULL AND command_id IS NOT NULL))
