-- find_act_ids: ids between which all acts lie that were done from $1 until $2 (ms; null for ever). Ids are given out in
-- the order of the clock, but for those of statements that run at the same time, and none runs for a minute. Served by
-- audit_log_by_time.
SELECT
    (SELECT id FROM audit_log WHERE at < to_timestamp($1::double precision / 1000) - interval '1 minute'
     ORDER BY at DESC LIMIT 1) AS after,
    (SELECT id FROM audit_log WHERE at >= to_timestamp($2::double precision / 1000) + interval '1 minute'
     ORDER BY at LIMIT 1) AS before
