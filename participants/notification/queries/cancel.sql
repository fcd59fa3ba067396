-- Tell a customer that a confirmed order is off, once; found by the action's command ($1), or by its notice ($2)
-- within the same saga ($3).
with confirmed as (
    select notice_id, order_id, email from notices
    where kind = 'confirmation' and (command_id = $1 or (notice_id = $2 and saga_id = $3))
),
told as (
    insert into notices (notice_id, kind, command_id, saga_id, order_id, email, cancels)
    select $5, 'cancellation', $4, $3, order_id, email, notice_id from confirmed
    on conflict do nothing
)
select count(*) from confirmed
