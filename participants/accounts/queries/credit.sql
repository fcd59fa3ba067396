-- Move locked holds to the balances of locked accounts.
with credited as (
    update holds as h
    set ending = 'credited', credited_to = c.account_id,
        ended_at = clock_timestamp(), ended_seq = nextval('effect_seq'), ended_by = c.command_id
    from unnest($1::text[], $2::text[], $3::text[]) as c (hold_id, command_id, account_id)
    where h.hold_id = c.hold_id and h.ending is null
    returning h.credited_to, h.amount_minor
),
summed as (
    select credited_to, sum(amount_minor) as amount_minor from credited group by credited_to
)
update accounts as a set balance_minor = a.balance_minor + summed.amount_minor
from summed where a.account_id = summed.credited_to
