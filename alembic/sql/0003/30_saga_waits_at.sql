-- At which steps a saga in progress waits, and at which a suspended one hangs: a letter for each, the first step's is A.
-- waits_at changes with each step and is in no index; hangs_at is null until the saga is suspended, so an index on it is
-- touched by those alone. Letters, because a number's eight bytes and their alignment cost every transition more.
-- A process of the release before leaves both as they were, so no constraint ties them to the status: it would refuse
-- what that process does with a suspended saga. Who reads hangs_at asks for the status, too.
ALTER TABLE saga
    ADD COLUMN waits_at text COLLATE "C",
    ADD COLUMN hangs_at text COLLATE "C"
