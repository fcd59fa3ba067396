-- queues: the participants, of these, for whom any saga queues. One look at the head of each queue: EXISTS might be made
-- a join that reads all of them.
SELECT x.name
FROM unnest($1::text[]) AS x (name)
CROSS JOIN LATERAL (SELECT FROM held_step AS h WHERE h.participant = x.name LIMIT 1) AS head
