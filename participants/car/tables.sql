-- Car: what stands at the stations, how many cars of a class are out on each day, and with whom. Every statement may run
-- again.
create sequence if not exists effect_seq;

create table if not exists fleet (
    station     text not null,
    class       text not null,
    capacity    integer not null,
    price_cents bigint not null,
    currency    text not null,
    primary key (station, class),
    constraint a_station_has_no_fewer_cars_than_none check (capacity >= 0),
    constraint a_car_never_costs_less_than_nothing check (price_cents >= 0)
);

-- A day has a row from the first wish for it on.
create table if not exists days (
    station  text not null,
    class    text not null,
    day      date not null,
    capacity integer not null,
    rented   integer not null default 0,
    primary key (station, class, day),
    foreign key (station, class) references fleet,
    constraint no_car_is_rented_twice_on_a_day check (rented <= capacity),
    constraint nobody_rents_less_than_no_car check (rented >= 0)
) with (fillfactor = 50); -- the same few rows change all the time: leave room for them on their page

create table if not exists rentals (
    seq           bigint not null default nextval('effect_seq'),
    rental_id     text primary key,
    command_id    text not null constraint one_command_rents_one_car unique,
    saga_id       text not null,
    booking_id    text not null,
    station       text not null,
    class         text not null,
    pick_up       date not null,
    days          integer not null,
    price_cents   bigint not null,
    at            timestamptz not null default clock_timestamp(),
    cancelled_at  timestamptz,
    cancelled_seq bigint,
    cancelled_by  text,
    foreign key (station, class) references fleet,
    constraint a_rental_lasts_a_day_at_least check (days >= 1),
    constraint a_cancellation_says_when_and_by_which_command
        check (num_nulls(cancelled_at, cancelled_seq, cancelled_by) in (0, 3))
);
create index if not exists rentals_by_booking on rentals (booking_id);

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, booking_id, command_id, 'done' as kind, 'RentCar' as command, rental_id as subject, at
from rentals
union all
select cancelled_seq, saga_id, booking_id, cancelled_by, 'undone', 'CancelRental', rental_id, cancelled_at
from rentals where cancelled_at is not null;

insert into fleet (station, class, capacity, price_cents, currency) values
    ('lisbon-airport', 'compact', 1000000, 3500, 'EUR'),
    ('lisbon-airport', 'estate', 1000000, 5500, 'EUR'),
    ('lisbon-airport', 'convertible', 1, 9900, 'EUR'),
    ('lisbon-airport', 'van', 0, 7900, 'EUR'),
    ('newark-airport', 'compact', 1000000, 4900, 'USD')
on conflict (station, class) do nothing;
