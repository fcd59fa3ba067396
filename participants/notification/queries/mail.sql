-- Write the mails all of whose recipients can be told something; answers why not, or null, in order. Of two reasons the
-- one that will not pass counts.
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
        with ordinality as w (mail_id, kind, command_id, saga_id, about, recipients, place)
),
judged as (
    select wanted.*, (
        select b.reason
        from jsonb_array_elements_text(wanted.recipients::jsonb) as r (email)
            join blocked_recipients as b on b.email = lower(r.email)
        order by b.reason = 'unsubscribed' desc
        limit 1
    ) as reason
    from wanted
),
sent as (
    insert into mails (mail_id, kind, command_id, saga_id, about, recipients)
    select mail_id, kind, command_id, saga_id, about, recipients::jsonb from judged where reason is null
)
select reason from judged order by place
