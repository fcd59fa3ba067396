-- What somebody did of one kind, newest first: who does much does little of most kinds.
CREATE INDEX audit_log_by_actor_and_action ON audit_log (actor, action, id)
