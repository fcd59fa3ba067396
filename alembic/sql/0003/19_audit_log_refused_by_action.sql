-- What was refused of one kind, newest first; acts that are done cost nothing here.
CREATE INDEX audit_log_refused_by_action ON audit_log (action, id) WHERE outcome = 'refused'
