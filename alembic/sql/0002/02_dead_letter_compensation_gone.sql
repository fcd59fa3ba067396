-- Replaced by the index that follows.
DROP INDEX a_compensation_is_set_aside_once
