-- What somebody did, newest first.
CREATE INDEX audit_log_by_actor ON audit_log (actor, id)
