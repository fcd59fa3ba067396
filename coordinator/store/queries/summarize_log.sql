-- summarize_log: let the index by time know what today's log has gained; answers how many block ranges.
SELECT saga_summarize_log() AS ranges
