-- Drop acknowledged replies when no batch comes along to do it on the way.
delete from kit_outbox where id = any($1::bigint[])
