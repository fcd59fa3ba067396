-- Flight: what flies, how many seats are taken, and by whom. Every statement may run again.
create sequence if not exists effect_seq;

create table if not exists flights (
    flight      text primary key,
    origin      text not null,
    destination text not null,
    departs_at  timestamptz not null,
    capacity    integer not null,
    taken       integer not null default 0,
    price_cents bigint not null,
    currency    text not null,
    status      text not null default 'scheduled',
    constraint no_seat_is_sold_twice check (taken <= capacity),
    constraint nobody_takes_less_than_no_seat check (taken >= 0),
    constraint a_seat_never_costs_less_than_nothing check (price_cents >= 0),
    constraint a_flight_is_scheduled_or_cancelled check (status in ('scheduled', 'cancelled'))
) with (fillfactor = 50); -- the same few rows change all the time: leave room for them on their page

create table if not exists tickets (
    seq           bigint not null default nextval('effect_seq'),
    ticket_id     text primary key,
    command_id    text not null constraint one_command_buys_one_ticket unique,
    saga_id       text not null,
    booking_id    text not null,
    flight        text not null references flights,
    seats         integer not null,
    price_cents   bigint not null,
    at            timestamptz not null default clock_timestamp(),
    cancelled_at  timestamptz,
    cancelled_seq bigint,
    cancelled_by  text,
    constraint a_ticket_is_for_a_seat_at_least check (seats >= 1),
    constraint a_cancellation_says_when_and_by_which_command
        check (num_nulls(cancelled_at, cancelled_seq, cancelled_by) in (0, 3))
);
create index if not exists tickets_by_booking on tickets (booking_id);

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, booking_id, command_id, 'done' as kind, 'BookSeat' as command, ticket_id as subject, at
from tickets
union all
select cancelled_seq, saga_id, booking_id, cancelled_by, 'undone', 'CancelSeat', ticket_id, cancelled_at
from tickets where cancelled_at is not null;

insert into flights (flight, origin, destination, departs_at, capacity, price_cents, currency, status) values
    ('SG100', 'BER', 'LIS', '2031-05-02 08:00+00', 100000000, 18000, 'EUR', 'scheduled'),
    ('SG200', 'BER', 'OSL', '2031-05-02 09:30+00', 100000000, 14000, 'EUR', 'scheduled'),
    ('SG300', 'BER', 'JFK', '2031-05-02 11:00+00', 100000000, 61000, 'USD', 'scheduled'),
    ('SG400', 'BER', 'KEF', '2031-05-02 12:15+00', 1, 22000, 'EUR', 'scheduled'),
    ('SG500', 'BER', 'ATH', '2031-05-02 13:40+00', 0, 19000, 'EUR', 'scheduled'),
    ('SG600', 'BER', 'TXL', '2031-05-02 15:00+00', 180, 2000, 'EUR', 'cancelled')
on conflict (flight) do nothing;
