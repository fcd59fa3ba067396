-- count_held: how many sagas of these partitions, or of all, queue for each participant.
SELECT participant, count(*)::integer AS sagas
FROM held_step
WHERE $1::smallint[] IS NULL OR part = ANY($1::smallint[])
GROUP BY participant
