-- lock_tally: let nobody fold until the end of the transaction; a statement of its own, so that the recount's snapshot is
-- later than what was folded.
SELECT pg_advisory_xact_lock(7203911846)
