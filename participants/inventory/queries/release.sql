-- Release what an action reserved, once; found by its command ($1), or by the reservation ($2) of the same saga ($3).
with reserved as (
    select reservation_id, lines from reservations
    where command_id = $1 or (reservation_id = $2 and saga_id = $3)
),
released as (
    update reservations as r
    set released_at = clock_timestamp(), released_seq = nextval('effect_seq'), released_by = $4
    from reserved where r.reservation_id = reserved.reservation_id and r.released_at is null
    returning r.lines
),
given_back as (
    update stock as s set reserved = s.reserved - line.quantity
    from released, jsonb_to_recordset(released.lines) as line (sku text, quantity integer)
    where s.sku = line.sku
)
select count(*) from reserved
