-- What was done to a saga or a dead letter says how it stood before and after; rows of earlier releases do not.
ALTER TABLE audit_log ADD CONSTRAINT an_act_says_how_things_stood_before_and_after CHECK (
    outcome = 'refused' OR subject IS NOT NULL OR num_nonnulls(state_before, state_after) = 2) NOT VALID
