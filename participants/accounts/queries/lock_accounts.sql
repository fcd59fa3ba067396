-- The accounts that a batch debits or credits, locked in one order for all processes.
select account_id, currency, status, balance_minor
from accounts where account_id = any($1::text[])
order by account_id
for update
