-- An act may be about a dead letter instead of a saga; then no saga's version moves.
ALTER TABLE audit_log
    ALTER COLUMN saga_id DROP NOT NULL,
    ALTER COLUMN version_before DROP NOT NULL,
    ALTER COLUMN version_after DROP NOT NULL,
    ADD COLUMN letter_id bigint,
    ADD CONSTRAINT an_act_is_about_a_saga_or_a_dead_letter CHECK (
        (saga_id IS NULL) <> (letter_id IS NULL)
        AND (letter_id IS NULL OR num_nonnulls(version_before, version_after) = 0)
        AND (saga_id IS NULL OR num_nonnulls(version_before, version_after) = 2))
