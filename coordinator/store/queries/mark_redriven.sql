-- mark_redriven: tries ($2) of letters ($1) that Kafka has acknowledged. A letter whose try has failed meanwhile is open
-- again and stays so.
UPDATE dead_letter AS d SET next_try_at = NULL
FROM unnest($1::bigint[], $2::integer[]) AS x (id, try)
WHERE d.id = x.id AND d.tries = x.try AND d.state = 'redriven'
