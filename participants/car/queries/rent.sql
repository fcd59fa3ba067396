-- Write rentals that were granted against locked days; $10 to $13 sum up what they take of each day.
with taken as (
    update days as d set rented = d.rented + t.cars
    from unnest($10::text[], $11::text[], $12::date[], $13::integer[]) as t (station, class, day, cars)
    where (d.station, d.class, d.day) = (t.station, t.class, t.day)
)
insert into rentals (rental_id, command_id, saga_id, booking_id, station, class, pick_up, days, price_cents)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[], $8::integer[], $9::bigint[]
)
