-- The days that a batch asks for, locked in one order for all processes.
select d.station, d.class, d.day, d.capacity - d.rented as free, f.price_cents, f.currency
from days as d
    join fleet as f using (station, class)
    join unnest($1::text[], $2::text[], $3::date[]) as w (station, class, day) using (station, class, day)
order by station, class, day
for update of d
