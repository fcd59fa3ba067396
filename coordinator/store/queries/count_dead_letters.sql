-- count_dead_letters: the open letters by kind, reason, and who is to act on them next. Served by dead_letter_open alone.
SELECT
    kind, reason,
    CASE WHEN kind <> 'record' THEN 'saga' WHEN next_try_at IS NULL THEN 'person' ELSE 'recovery' END AS next,
    count(*)::integer AS letters
FROM dead_letter
WHERE state = 'open'
GROUP BY 1, 2, 3
