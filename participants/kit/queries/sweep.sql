-- Replies that should have left at least $2 seconds ago and are not in this process's hands ($1). A reply that nothing
-- could deliver $3 times stays for a person to look at.
update kit_outbox as o set tries = tries + 1
from (
    select id from kit_outbox
    where leave_at <= clock_timestamp() - make_interval(secs => $2) and id <> all($1::bigint[]) and tries < $3
    order by id limit $4
) as due
where o.id = due.id
returning o.id, o.topic, o.part, o.key, o.headers, o.value, o.copies, o.tries
