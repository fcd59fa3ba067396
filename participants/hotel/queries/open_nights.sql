-- Give the nights that a batch asks for a row each, in one order for all processes; a room that nobody has gets none.
insert into nights (hotel, room, night, capacity)
select hotel, room, night, capacity
from unnest($1::text[], $2::text[], $3::date[]) as w (hotel, room, night) join rooms using (hotel, room)
order by hotel, room, night
on conflict do nothing
