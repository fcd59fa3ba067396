-- Count down the faults that were used; a fault without a count lasts until it is cleared.
update faults as f set remaining = greatest(f.remaining - used.times, 0)
from unnest($1::bigint[], $2::integer[]) as used (id, times)
where f.id = used.id and f.remaining is not null
