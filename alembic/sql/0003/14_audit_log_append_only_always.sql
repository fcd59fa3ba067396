-- In sessions that replay what another server did, too: they would pass by ordinary triggers.
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only
