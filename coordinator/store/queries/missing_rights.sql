-- missing_rights: what this role may not do with the tables ($1) although a coordinator does it ($2), as "UPDATE on saga".
SELECT format('%s on %s', needed.privilege, needed.name) AS missing
FROM unnest($1::text[], $2::text[]) AS needed (name, privilege)
WHERE NOT has_table_privilege(to_regclass(needed.name)::oid, needed.privilege)
ORDER BY needed.name, needed.privilege
