-- Keep events whose handling failed in a way that may pass, to be handled again: after half a second, then after twice
-- as long each time, up to a minute.
insert into kit_event as e (topic, part, record_offset, headers, value, run_at)
select topic, part, record_offset, headers, value, clock_timestamp() + interval '0.5 seconds'
from unnest($1::text[], $2::integer[], $3::bigint[], $4::text[], $5::bytea[])
    as w (topic, part, record_offset, headers, value)
on conflict (topic, part, record_offset) do update set
    tries = e.tries + 1,
    run_at = clock_timestamp() + least(interval '1 minute', interval '0.5 seconds' * power(2, least(e.tries, 10)))
