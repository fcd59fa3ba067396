-- Write bookings that were granted against locked nights; $10 to $13 sum up what they take of each night.
with taken as (
    update nights as n set booked = n.booked + t.rooms
    from unnest($10::text[], $11::text[], $12::date[], $13::integer[]) as t (hotel, room, night, rooms)
    where (n.hotel, n.room, n.night) = (t.hotel, t.room, t.night)
)
insert into room_bookings (room_booking_id, command_id, saga_id, booking_id, hotel, room, check_in, nights, price_cents)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[], $8::integer[], $9::bigint[]
)
