-- Every act is in the audit, and every refusal: what it was about, what became of it, and how things stood before and
-- after. A subject names what is neither a saga nor a dead letter, such as key:3f2a or request:POST /v1/keys.
ALTER TABLE audit_log
    ADD COLUMN subject text,
    ADD COLUMN outcome text NOT NULL DEFAULT 'done',
    ADD COLUMN state_before jsonb,
    ADD COLUMN state_after jsonb,
    DROP CONSTRAINT an_act_is_about_a_saga_or_a_dead_letter,
    DROP CONSTRAINT an_act_has_a_reason,
    ADD CONSTRAINT an_act_is_done_or_refused CHECK (outcome IN ('done', 'refused')),
    ADD CONSTRAINT an_act_has_a_reason CHECK (length(btrim(reason)) > 0 OR outcome = 'refused'),
    ADD CONSTRAINT an_act_is_about_one_thing CHECK (num_nonnulls(saga_id, letter_id, subject) = 1),
    ADD CONSTRAINT an_act_on_a_saga_says_its_versions CHECK (
        num_nonnulls(version_before, version_after) = CASE WHEN saga_id IS NOT NULL AND outcome = 'done' THEN 2 ELSE 0 END)
