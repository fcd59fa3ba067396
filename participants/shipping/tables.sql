-- Shipping: where parcels can go, and which are on their way. Every statement may run again.
create sequence if not exists effect_seq;

create table if not exists countries (
    code   text primary key,
    name   text not null,
    served boolean not null,
    constraint a_country_has_a_code_of_two_capitals check (code ~ '^[A-Z]{2}$')
);

create table if not exists shipments (
    seq           bigint not null default nextval('effect_seq'),
    shipment_id   text primary key,
    command_id    text not null constraint one_command_ships_once unique,
    saga_id       text not null,
    order_id      text not null,
    country       text not null,
    city          text not null,
    street        text not null,
    at            timestamptz not null default clock_timestamp(),
    cancelled_at  timestamptz,
    cancelled_seq bigint,
    cancelled_by  text,
    constraint a_cancellation_says_when_and_by_which_command
        check (num_nulls(cancelled_at, cancelled_seq, cancelled_by) in (0, 3))
);
create index if not exists shipments_by_order on shipments (order_id);

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, order_id, command_id, 'done' as kind, 'CreateShipment' as command, shipment_id as subject, at
from shipments
union all
select cancelled_seq, saga_id, order_id, cancelled_by, 'undone', 'CancelShipment', shipment_id, cancelled_at
from shipments where cancelled_at is not null;

insert into countries (code, name, served) values
    ('AT', 'Austria', true), ('BE', 'Belgium', true), ('CH', 'Switzerland', true), ('DE', 'Germany', true),
    ('ES', 'Spain', true), ('FR', 'France', true), ('GB', 'United Kingdom', true), ('IT', 'Italy', true),
    ('NL', 'Netherlands', true), ('PL', 'Poland', true), ('US', 'United States', true),
    ('AQ', 'Antarctica', false), ('BV', 'Bouvet Island', false)
on conflict (code) do nothing;
