-- Drop events that were handled in the end.
delete from kit_event as e
using unnest($1::text[], $2::integer[], $3::bigint[]) as d (topic, part, record_offset)
where e.topic = d.topic and e.part = d.part and e.record_offset = d.record_offset
