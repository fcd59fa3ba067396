-- queues: the participants, of these, for whom any saga queues. One look at the head of each queue.
SELECT name FROM unnest($1::text[]) AS name
WHERE EXISTS (SELECT FROM held_step WHERE participant = name)
