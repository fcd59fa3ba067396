-- Ends every statement that would change or remove what is in the audit, whoever runs it.
CREATE FUNCTION audit_log_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = 'the audit is append-only: what was done is neither changed nor removed (' || TG_OP || ')';
END
$$
