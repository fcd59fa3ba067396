-- reopen_answer: give a claim up of which nobody knows what came of it: the same request may take it over at once.
UPDATE idempotency_key SET claimed_at = '-infinity' WHERE actor = $1 AND key = $2 AND claim = $3
