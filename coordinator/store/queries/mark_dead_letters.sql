-- mark_dead_letters: these are on the dead-letter topic now.
UPDATE dead_letter SET on_topic = true WHERE id = ANY($1::bigint[])
