-- Reverse the entry of an action, once, by an entry ($5) whose sides are changed over; found by the action's command
-- ($1), or by its entry ($2) within the same saga ($3). Answers how many entries the action has.
with recorded as (
    select entry_id, transfer_id, amount_minor, currency from entries
    where reverses is null and (command_id = $1 or (entry_id = $2 and saga_id = $3))
),
reversed as (
    insert into entries (entry_id, command_id, saga_id, transfer_id, amount_minor, currency, reverses)
    select $5, $4, $3, transfer_id, amount_minor, currency, entry_id from recorded
    on conflict do nothing
    returning entry_id, reverses
),
posted as (
    insert into postings (entry_id, side, account_id, amount_minor, currency)
    select reversed.entry_id, case p.side when 'debit' then 'credit' else 'debit' end,
        p.account_id, p.amount_minor, p.currency
    from reversed join postings as p on p.entry_id = reversed.reverses
)
select count(*) from recorded
