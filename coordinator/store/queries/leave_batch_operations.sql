-- leave_batch_operations: do none of them any longer; others need not wait for the leases to run out.
UPDATE batch_operation SET owner = NULL, owned_until = NULL WHERE state = 'running' AND owner = $1
