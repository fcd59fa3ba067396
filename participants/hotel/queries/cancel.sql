-- Cancel what an action booked, once; found by its command ($1), or by the booking of the room ($2) within the same
-- saga ($3).
with booked as (
    select room_booking_id from room_bookings
    where command_id = $1 or (room_booking_id = $2 and saga_id = $3)
),
cancelled as (
    update room_bookings as b
    set cancelled_at = clock_timestamp(), cancelled_seq = nextval('effect_seq'), cancelled_by = $4
    from booked where b.room_booking_id = booked.room_booking_id and b.cancelled_at is null
    returning b.hotel, b.room, b.check_in, b.nights
),
given_back as (
    update nights as n set booked = n.booked - 1
    from cancelled as c
    where (n.hotel, n.room) = (c.hotel, c.room) and n.night >= c.check_in and n.night < c.check_in + c.nights
)
select count(*) from booked
