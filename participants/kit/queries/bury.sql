-- Keep records that are no commands; the same record comes again after a crash, hence "do nothing".
insert into kit_dead_letter (topic, part, record_offset, reason, detail, key, value, headers)
select * from unnest($1::text[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::text[])
on conflict do nothing
