-- The end of a batch's transaction: remember what became of each action, forget rows that hold nothing, drop replies
-- that Kafka has acknowledged since, and store the new ones. Returns the new outbox ids in the order of the arrays.
with remembered as (
    update kit_command as c set outcome = w.outcome, answer = w.answer, undo = w.undo
    from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as w (command_id, outcome, answer, undo)
    where c.command_id = w.command_id
),
forgotten as (
    delete from kit_command where command_id = any($5::text[])
),
acknowledged as (
    delete from kit_outbox where id = any($6::bigint[])
)
insert into kit_outbox (topic, part, key, headers, value, copies, leave_at)
select topic, part, key, headers, value, copies, clock_timestamp() + make_interval(secs => delay)
from unnest($7::text[], $8::integer[], $9::bytea[], $10::text[], $11::bytea[], $12::integer[], $13::float8[])
    with ordinality as r (topic, part, key, headers, value, copies, delay, place)
order by place
returning id
