-- The nights that a batch asks for, locked in one order for all processes.
select n.hotel, n.room, n.night, n.capacity - n.booked as free, r.price_cents, r.currency
from nights as n
    join rooms as r using (hotel, room)
    join unnest($1::text[], $2::text[], $3::date[]) as w (hotel, room, night) using (hotel, room, night)
order by hotel, room, night
for update of n
