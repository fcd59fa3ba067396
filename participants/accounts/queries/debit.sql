-- Move amounts that were granted against locked accounts from the balances to holds.
with held as (
    insert into holds (hold_id, command_id, saga_id, transfer_id, account_id, amount_minor, currency)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])
    returning account_id, amount_minor
),
debited as (
    select account_id, sum(amount_minor) as amount_minor from held group by account_id
)
update accounts as a set balance_minor = a.balance_minor - debited.amount_minor
from debited where a.account_id = debited.account_id
