-- write_rights: the statements, in their order, that give a role ($1) its rights ($3) on tables ($2), the use of functions
-- ($4), and nothing else on these tables. Tables that are not there (yet) are left out.
SELECT statement
FROM (
    SELECT c.step, format(c.change, current_schema(), t.name, t.rights, $1::text) AS statement
    FROM unnest($2::text[], $3::text[]) AS t (name, rights)
    CROSS JOIN (VALUES
        (1, 'REVOKE ALL ON TABLE %1$I.%2$I FROM %4$I'),
        (2, 'GRANT %3$s ON TABLE %1$I.%2$I TO %4$I')
    ) AS c (step, change)
    WHERE to_regclass(format('%I.%I', current_schema(), t.name)) IS NOT NULL
    UNION ALL
    SELECT 3, format('GRANT EXECUTE ON FUNCTION %I.%s TO %I', current_schema(), f.signature, $1::text)
    FROM unnest($4::text[]) AS f (signature)
    UNION ALL
    SELECT 4, format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), $1::text)
    WHERE NOT has_schema_privilege($1::text, current_schema()::text, 'USAGE')
    UNION ALL
    -- Servers before version 15 let everybody make tables there.
    SELECT 5, format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema())
    FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
    WHERE n.nspname = current_schema() AND a.grantee = 0 AND a.privilege_type = 'CREATE'
) AS written
ORDER BY step
