-- lock_definitions: one process registers its definitions at a time. The lock goes with the transaction.
SELECT pg_advisory_xact_lock(hashtext('saga_definition'))
