-- The holds that a batch ends, by their ids ($1) or by the commands that made them ($2), locked in one order for all
-- processes, and before any account.
select hold_id, saga_id, amount_minor, currency, ending
from holds where hold_id = any($1::text[]) or command_id = any($2::text[])
order by hold_id
for update
