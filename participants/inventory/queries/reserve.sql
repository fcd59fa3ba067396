-- Write reservations that were granted against locked stock; $6 and $7 sum up what they take of each sku.
with taken as (
    update stock as s set reserved = s.reserved + t.quantity
    from unnest($6::text[], $7::integer[]) as t (sku, quantity)
    where s.sku = t.sku
)
insert into reservations (reservation_id, command_id, saga_id, order_id, lines)
select reservation_id, command_id, saga_id, order_id, lines::jsonb
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    as r (reservation_id, command_id, saga_id, order_id, lines)
