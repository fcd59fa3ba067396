-- own_standing: the role of this session, and whether it could do to the audit what nobody should: as a superuser, or as
-- the owner of its table.
SELECT
    current_user::text AS role,
    r.rolsuper OR pg_has_role(c.relowner, 'MEMBER') AS is_mighty
FROM pg_roles AS r, pg_class AS c
WHERE r.rolname = current_user AND c.oid = 'audit_log'::regclass
