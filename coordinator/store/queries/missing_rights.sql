-- missing_rights: what this role may not do with the tables although a coordinator does it, as "UPDATE on saga".
SELECT format('%s on %s', needed.privilege, needed.name) AS missing
FROM (VALUES
    ('saga', 'SELECT'), ('saga', 'INSERT'), ('saga', 'UPDATE'),
    ('saga_log', 'SELECT'), ('saga_log', 'INSERT'),
    ('saga_key', 'SELECT'), ('saga_key', 'INSERT'),
    ('outbox', 'SELECT'), ('outbox', 'INSERT'), ('outbox', 'DELETE'),
    ('shard', 'SELECT'), ('shard', 'INSERT'), ('shard', 'UPDATE'),
    ('dead_letter', 'SELECT'), ('dead_letter', 'INSERT'), ('dead_letter', 'UPDATE'),
    ('incident', 'SELECT'), ('incident', 'INSERT'), ('incident', 'UPDATE'),
    ('audit_log', 'SELECT'), ('audit_log', 'INSERT'),
    ('replica', 'SELECT'), ('replica', 'INSERT'), ('replica', 'UPDATE'), ('replica', 'DELETE')
) AS needed (name, privilege)
WHERE NOT has_table_privilege(to_regclass(needed.name)::oid, needed.privilege)
ORDER BY needed.name, needed.privilege
