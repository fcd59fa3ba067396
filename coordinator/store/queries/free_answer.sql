-- free_answer: give a claim up whose request never began anything: its key may be used for another.
DELETE FROM idempotency_key WHERE actor = $1 AND key = $2 AND claim = $3
