-- Give back what an action charged, once; found by its command ($1), or by the payment ($2) of the same saga ($3).
with charged as (
    select payment_id, order_id, card_token, amount_cents from payments
    where command_id = $1 or (payment_id = $2 and saga_id = $3)
),
refunded as (
    insert into refunds (payment_id, command_id, saga_id, order_id, amount_cents)
    select payment_id, $4, $3, order_id, amount_cents from charged
    on conflict (payment_id) do nothing
    returning payment_id
),
given_back as (
    update cards as c set spent_cents = c.spent_cents - charged.amount_cents
    from charged join refunded using (payment_id)
    where c.token = charged.card_token
)
select count(*) from charged
