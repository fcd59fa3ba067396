-- write_role: the statement that makes a role ($1) which may log in with a password ($2, as its verifier; null for none).
SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', $1::text, $2::text) AS statement
