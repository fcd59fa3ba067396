-- Replies held back until later, with the seconds that are left; read once at start.
select id, topic, part, key, headers, value, copies,
    extract(epoch from leave_at - clock_timestamp())::float8 as delay
from kit_outbox where leave_at > clock_timestamp() and id <> all($1::bigint[])
order by id
