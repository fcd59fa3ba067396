-- What was refused to somebody, newest first; acts that are done cost nothing here.
CREATE INDEX audit_log_refused_by_actor ON audit_log (actor, id) WHERE outcome = 'refused'
