-- Hotel: what rooms there are, how many of a kind are booked for each night, and by whom. Every statement may run again.
create sequence if not exists effect_seq;

create table if not exists rooms (
    hotel       text not null,
    room        text not null,
    capacity    integer not null,
    price_cents bigint not null,
    currency    text not null,
    primary key (hotel, room),
    constraint a_hotel_has_no_fewer_rooms_than_none check (capacity >= 0),
    constraint a_room_never_costs_less_than_nothing check (price_cents >= 0)
);

-- A night has a row from the first wish for it on.
create table if not exists nights (
    hotel    text not null,
    room     text not null,
    night    date not null,
    capacity integer not null,
    booked   integer not null default 0,
    primary key (hotel, room, night),
    foreign key (hotel, room) references rooms,
    constraint no_room_is_booked_twice_for_a_night check (booked <= capacity),
    constraint nobody_books_less_than_no_room check (booked >= 0)
) with (fillfactor = 50); -- the same few rows change all the time: leave room for them on their page

create table if not exists room_bookings (
    seq             bigint not null default nextval('effect_seq'),
    room_booking_id text primary key,
    command_id      text not null constraint one_command_books_one_room unique,
    saga_id         text not null,
    booking_id      text not null,
    hotel           text not null,
    room            text not null,
    check_in        date not null,
    nights          integer not null,
    price_cents     bigint not null,
    at              timestamptz not null default clock_timestamp(),
    cancelled_at    timestamptz,
    cancelled_seq   bigint,
    cancelled_by    text,
    foreign key (hotel, room) references rooms,
    constraint a_stay_lasts_a_night_at_least check (nights >= 1),
    constraint a_cancellation_says_when_and_by_which_command
        check (num_nulls(cancelled_at, cancelled_seq, cancelled_by) in (0, 3))
);
create index if not exists room_bookings_by_booking on room_bookings (booking_id);

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, booking_id, command_id, 'done' as kind, 'BookRoom' as command, room_booking_id as subject, at
from room_bookings
union all
select cancelled_seq, saga_id, booking_id, cancelled_by, 'undone', 'CancelRoom', room_booking_id, cancelled_at
from room_bookings where cancelled_at is not null;

insert into rooms (hotel, room, capacity, price_cents, currency) values
    ('hotel-central', 'single', 1000000, 8000, 'EUR'),
    ('hotel-central', 'double', 1000000, 12000, 'EUR'),
    ('hotel-central', 'suite', 1000000, 95000, 'EUR'),
    ('hotel-garden', 'attic', 1, 4000, 'EUR'),
    ('hotel-garden', 'double', 0, 9000, 'EUR'),
    ('hotel-liberty', 'double', 1000000, 15000, 'USD')
on conflict (hotel, room) do nothing;
