-- What was refused, or done, newest first: after a flood of the one it is hard to find the other.
CREATE INDEX audit_log_by_outcome ON audit_log (outcome, id)
