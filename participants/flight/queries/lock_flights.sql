-- The flights that a batch is about, locked in one order for all processes.
select flight, status, capacity - taken as free, price_cents, currency
from flights where flight = any($1::text[])
order by flight
for update
