-- read_participant_states: what the processes that have written within $1 seconds know of participants.
SELECT process, participant, state::text AS state, floor(extract(epoch FROM at) * 1000)::bigint AS at_ms
FROM participant_state
WHERE at > clock_timestamp() - $1::integer * interval '1 second'
ORDER BY participant, process
