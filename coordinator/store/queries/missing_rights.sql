-- missing_rights: what this role may not do with the tables ($1) although a coordinator does it ($2), as "UPDATE on saga",
-- and which of the functions ($3) it may not run.
SELECT format('%s on %s', needed.privilege, needed.name) AS missing
FROM unnest($1::text[], $2::text[]) AS needed (name, privilege)
WHERE NOT has_table_privilege(to_regclass(needed.name)::oid, needed.privilege)
UNION ALL
SELECT format('EXECUTE on function %s', needed.signature)
FROM unnest($3::text[]) AS needed (signature)
WHERE NOT has_function_privilege(to_regprocedure(needed.signature)::oid, 'EXECUTE')
ORDER BY missing
