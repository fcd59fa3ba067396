-- Cancel the ticket of an action, once; found by its command ($1), or by the ticket ($2) within the same saga ($3).
with booked as (
    select ticket_id from tickets where command_id = $1 or (ticket_id = $2 and saga_id = $3)
),
cancelled as (
    update tickets as t
    set cancelled_at = clock_timestamp(), cancelled_seq = nextval('effect_seq'), cancelled_by = $4
    from booked where t.ticket_id = booked.ticket_id and t.cancelled_at is null
    returning t.flight, t.seats
),
given_back as (
    update flights as f set taken = f.taken - cancelled.seats
    from cancelled where f.flight = cancelled.flight
)
select count(*) from booked
