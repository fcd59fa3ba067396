-- Give the days that a batch asks for a row each, in one order for all processes; a car that nobody has gets none.
insert into days (station, class, day, capacity)
select station, class, day, capacity
from unnest($1::text[], $2::text[], $3::date[]) as w (station, class, day) join fleet using (station, class)
order by station, class, day
on conflict do nothing
