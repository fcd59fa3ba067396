-- At which steps a saga in progress waits, and at which a suspended one hangs: a bit per position, the first step's the
-- lowest. waits_at changes with each step and is in no index; hangs_at is null until the saga is suspended, so an index
-- on it is touched by those alone.
ALTER TABLE saga
    ADD COLUMN waits_at bigint,
    ADD COLUMN hangs_at bigint,
    ADD CONSTRAINT only_a_suspended_saga_hangs CHECK (hangs_at IS NULL OR status = 'suspended')
