-- write_participant_states: what process $1 knows of participants ($2, each with $3) at this moment; rows of processes
-- that are long gone are deleted by the way. Called every few seconds.
WITH forgotten AS (
    DELETE FROM participant_state WHERE process <> $1::text AND at < clock_timestamp() - interval '1 hour'
)
INSERT INTO participant_state (process, participant, at, state)
SELECT $1::text, x.participant, clock_timestamp(), x.state::jsonb
FROM unnest($2::text[], $3::text[]) AS x (participant, state)
ON CONFLICT (participant, process) DO UPDATE SET at = excluded.at, state = excluded.state
