-- Inventory: what is on hand, and who has reserved how much of it. Every statement may run again.
create sequence if not exists effect_seq;

create table if not exists stock (
    sku      text primary key,
    name     text not null,
    on_hand  integer not null,
    reserved integer not null default 0,
    constraint nothing_is_reserved_twice check (reserved <= on_hand),
    constraint nobody_reserves_less_than_nothing check (reserved >= 0)
) with (fillfactor = 50); -- the same few rows change all the time: leave room for them on their page

create table if not exists reservations (
    seq          bigint not null default nextval('effect_seq'),
    reservation_id text primary key,
    command_id   text not null constraint one_command_reserves_once unique,
    saga_id      text not null,
    order_id     text not null,
    lines        jsonb not null,
    at           timestamptz not null default clock_timestamp(),
    released_at  timestamptz,
    released_seq bigint,
    released_by  text,
    constraint a_release_says_when_and_by_which_command
        check (num_nulls(released_at, released_seq, released_by) in (0, 3))
);
create index if not exists reservations_by_order on reservations (order_id);

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, order_id, command_id, 'done' as kind, 'ReserveItems' as command, reservation_id as subject, at
from reservations
union all
select released_seq, saga_id, order_id, released_by, 'undone', 'ReleaseReservation', reservation_id, released_at
from reservations where released_at is not null;

insert into stock (sku, name, on_hand) values
    ('sku-book', 'A book about distributed systems', 100000000),
    ('sku-lamp', 'A desk lamp', 100000000),
    ('sku-chair', 'A chair', 100000000),
    ('sku-vase', 'A rare vase, the last one', 1),
    ('sku-sold-out', 'A record that sold out', 0)
on conflict (sku) do nothing;
