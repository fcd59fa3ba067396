-- survey_letters: how old the oldest open dead letter is, and how many of the newest so many are younger than so many
-- seconds. Served by dead_letter_by_state: ids come in the order of time.
SELECT
    (
        SELECT extract(epoch FROM clock_timestamp() - at)::double precision
        FROM dead_letter WHERE state = 'open' ORDER BY id LIMIT 1
    ) AS oldest_s,
    (
        SELECT count(*) FILTER (WHERE newest.at > clock_timestamp() - $2::integer * interval '1 second')::integer
        FROM (SELECT at FROM dead_letter WHERE state = 'open' ORDER BY id DESC LIMIT $1) AS newest
    ) AS recent
