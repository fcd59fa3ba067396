-- Take the row of every action that the batch is about, in one order for all processes; called first in a batch's
-- transaction. The update that changes nothing locks an existing row and returns its newest version.
insert into kit_command as mine (command_id, saga_id)
select command_id, saga_id from unnest($1::text[], $2::text[]) as wanted (command_id, saga_id)
order by command_id
on conflict (command_id) do update set command_id = mine.command_id
returning mine.command_id, mine.saga_id, mine.outcome, mine.answer, mine.undo,
    floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms,
    (select json_agg(f order by f.id)::text from faults f where f.remaining is null or f.remaining > 0) as faults
