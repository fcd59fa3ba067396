-- The stock that a batch asks for, locked in one order for all processes.
select sku, on_hand - reserved as free
from stock where sku = any($1::text[])
order by sku
for update
