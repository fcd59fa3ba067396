-- At which steps a saga in progress waits, and at which a suspended one hangs: a letter for each, the first step's is A.
-- waits_at changes with each step and is in no index; hangs_at is null until the saga is suspended, so an index on it is
-- touched by those alone. Letters, because a number's eight bytes and their alignment cost every transition more.
ALTER TABLE saga
    ADD COLUMN waits_at text COLLATE "C",
    ADD COLUMN hangs_at text COLLATE "C",
    ADD CONSTRAINT only_a_suspended_saga_hangs CHECK (hangs_at IS NULL OR status = 'suspended')
