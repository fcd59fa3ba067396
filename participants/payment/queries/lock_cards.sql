-- The cards that a batch charges, locked in one order for all processes.
select token, status, limit_cents - spent_cents as left_cents
from cards where token = any($1::text[])
order by token
for update
