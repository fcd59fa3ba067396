-- Move a locked hold back to the balance that it came from, once; answers how the hold ended before.
with held as (
    select hold_id, account_id, amount_minor, ending from holds
    where command_id = $1 or (hold_id = $2 and saga_id = $3)
),
returned as (
    update holds as h
    set ending = 'returned', ended_at = clock_timestamp(), ended_seq = nextval('effect_seq'), ended_by = $4
    from held where h.hold_id = held.hold_id and h.ending is null
    returning h.hold_id
),
given_back as (
    update accounts as a set balance_minor = a.balance_minor + held.amount_minor
    from held join returned using (hold_id)
    where a.account_id = held.account_id
)
select coalesce(ending, 'returned') as ending from held
