-- Cancel what an action rented, once; found by its command ($1), or by the rental ($2) within the same saga ($3).
with rented as (
    select rental_id from rentals where command_id = $1 or (rental_id = $2 and saga_id = $3)
),
cancelled as (
    update rentals as r
    set cancelled_at = clock_timestamp(), cancelled_seq = nextval('effect_seq'), cancelled_by = $4
    from rented where r.rental_id = rented.rental_id and r.cancelled_at is null
    returning r.station, r.class, r.pick_up, r.days
),
given_back as (
    update days as d set rented = d.rented - 1
    from cancelled as c
    where (d.station, d.class) = (c.station, c.class) and d.day >= c.pick_up and d.day < c.pick_up + c.days
)
select count(*) from rented
