-- Write a confirmation to everyone who can be told anything; answers why not, or null, in order.
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
        with ordinality as w (notice_id, command_id, saga_id, order_id, email, place)
),
judged as (
    select wanted.*, reason from wanted left join blocked_recipients as b on b.email = lower(wanted.email)
),
sent as (
    insert into notices (notice_id, kind, command_id, saga_id, order_id, email)
    select notice_id, 'confirmation', command_id, saga_id, order_id, email from judged where reason is null
)
select reason from judged order by place
