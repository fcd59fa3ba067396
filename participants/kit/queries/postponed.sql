-- The events that are to be handled again now, the longest waiting first.
select topic, part, record_offset, headers, value
from kit_event where run_at <= clock_timestamp()
order by run_at limit $1
