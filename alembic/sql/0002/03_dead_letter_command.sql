-- A command is dead-lettered once per transition that gave it up.
CREATE UNIQUE INDEX a_command_is_set_aside_once ON dead_letter (saga_id, saga_version) WHERE kind <> 'record'
