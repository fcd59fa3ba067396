-- Record the transfers whose currency has an open book, two postings each; answers what is known about every book, in
-- order.
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[])
        with ordinality as w
            (entry_id, command_id, saga_id, transfer_id, source, destination, amount_minor, currency, place)
),
recorded as (
    insert into entries (entry_id, command_id, saga_id, transfer_id, amount_minor, currency)
    select entry_id, command_id, saga_id, transfer_id, amount_minor, currency
    from wanted join books using (currency) where status = 'open'
    returning entry_id
),
posted as (
    insert into postings (entry_id, side, account_id, amount_minor, currency)
    select entry_id, side, account_id, amount_minor, currency
    from wanted join recorded using (entry_id)
        cross join lateral (values ('debit', source), ('credit', destination)) as sides (side, account_id)
)
select status from wanted left join books using (currency) order by place
