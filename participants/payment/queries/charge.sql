-- Book payments that were authorised against locked cards.
with booked as (
    insert into payments (payment_id, command_id, saga_id, order_id, card_token, amount_cents, currency)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])
    returning card_token, amount_cents
),
spent as (
    select card_token, sum(amount_cents) as amount_cents from booked group by card_token
)
update cards as c set spent_cents = c.spent_cents + spent.amount_cents
from spent where c.token = spent.card_token
