-- Write tickets that were granted against locked flights.
with booked as (
    insert into tickets (ticket_id, command_id, saga_id, booking_id, flight, seats, price_cents)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::bigint[])
    returning flight, seats
),
summed as (
    select flight, sum(seats) as seats from booked group by flight
)
update flights as f set taken = f.taken + summed.seats
from summed where f.flight = summed.flight
