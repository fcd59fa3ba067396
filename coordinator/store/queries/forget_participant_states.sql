-- forget_participant_states: process $1 owns no partition any more, so it knows nothing of participants.
DELETE FROM participant_state WHERE process = $1::text
