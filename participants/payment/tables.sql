-- Payment: cards with a limit, what was charged to them, and what was given back. Every statement may run again.
create sequence if not exists effect_seq;

create table if not exists cards (
    token       text primary key,
    status      text not null default 'active',
    limit_cents bigint not null,
    spent_cents bigint not null default 0,
    constraint a_card_is_active_blocked_or_expired check (status in ('active', 'blocked', 'expired')),
    constraint a_card_never_spends_beyond_its_limit check (spent_cents <= limit_cents),
    constraint a_card_never_gets_back_more_than_it_spent check (spent_cents >= 0)
) with (fillfactor = 50); -- the same few rows change all the time: leave room for them on their page

create table if not exists payments (
    seq          bigint not null default nextval('effect_seq'),
    payment_id   text primary key,
    command_id   text not null constraint one_command_charges_once unique,
    saga_id      text not null,
    order_id     text not null,
    card_token   text not null,
    amount_cents bigint not null,
    currency     text not null,
    at           timestamptz not null default clock_timestamp(),
    constraint a_payment_is_never_negative check (amount_cents >= 0)
);
create index if not exists payments_by_order on payments (order_id);

create table if not exists refunds (
    seq          bigint not null default nextval('effect_seq'),
    payment_id   text primary key references payments,
    command_id   text not null,
    saga_id      text not null,
    order_id     text not null,
    amount_cents bigint not null,
    at           timestamptz not null default clock_timestamp()
);

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, order_id, command_id, 'done' as kind, 'ProcessPayment' as command, payment_id as subject, at
from payments
union all
select seq, saga_id, order_id, command_id, 'undone', 'RefundPayment', payment_id, at
from refunds;

insert into cards (token, status, limit_cents) values
    ('tok_visa', 'active', 9000000000000000),
    ('tok_mastercard', 'active', 9000000000000000),
    ('tok_small', 'active', 10000),
    ('tok_declined', 'blocked', 9000000000000000),
    ('tok_expired', 'expired', 9000000000000000)
on conflict (token) do nothing;
