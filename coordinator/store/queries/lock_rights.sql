-- lock_rights: one migrator gives rights at a time. The lock goes with the transaction.
SELECT pg_advisory_xact_lock(hashtext('saga_rights'))
