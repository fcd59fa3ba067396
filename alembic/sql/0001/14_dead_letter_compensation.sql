-- A compensation is dead-lettered once per transition that gave it up.
CREATE UNIQUE INDEX a_compensation_is_set_aside_once
ON dead_letter (saga_id, saga_version) WHERE kind = 'compensation'
