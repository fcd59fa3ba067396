-- Accounts: what is on them, and what a transfer has taken off one and not yet put on another. Every statement may run
-- again. At every commit the balances and the open holds of a currency add up to the same sum: see the view `money`.
create sequence if not exists effect_seq;

create table if not exists accounts (
    account_id    text primary key,
    owner         text not null,
    currency      text not null,
    status        text not null default 'open',
    balance_minor bigint not null,
    constraint an_account_has_one_currency unique (account_id, currency),
    constraint a_currency_has_a_code_of_three_capitals check (currency ~ '^[A-Z]{3}$'),
    constraint an_account_is_open_or_closed check (status in ('open', 'closed')),
    constraint a_balance_is_never_negative check (balance_minor >= 0)
) with (fillfactor = 50); -- the same few rows change all the time: leave room for them on their page

-- Money between two accounts: its hold is open until it is credited to the destination or returned to the source.
create table if not exists holds (
    seq          bigint not null default nextval('effect_seq'),
    hold_id      text primary key,
    command_id   text not null constraint one_command_holds_once unique,
    saga_id      text not null,
    transfer_id  text not null,
    account_id   text not null,
    amount_minor bigint not null,
    currency     text not null,
    at           timestamptz not null default clock_timestamp(),
    ending       text,
    credited_to  text,
    ended_at     timestamptz,
    ended_seq    bigint,
    ended_by     text,
    constraint a_hold_has_the_currency_of_its_account
        foreign key (account_id, currency) references accounts (account_id, currency),
    constraint a_hold_is_credited_in_its_own_currency
        foreign key (credited_to, currency) references accounts (account_id, currency),
    constraint a_hold_is_never_empty check (amount_minor > 0),
    constraint a_hold_ends_credited_or_returned check (ending in ('credited', 'returned')),
    constraint an_ending_says_when_and_by_which_command
        check (num_nulls(ending, ended_at, ended_seq, ended_by) in (0, 4)),
    constraint only_a_credit_has_a_destination check ((ending is not distinct from 'credited') = (credited_to is not null))
);
create index if not exists holds_by_transfer on holds (transfer_id);

create or replace view money as
select currency, sum(balance)::bigint as on_accounts, sum(held)::bigint as on_hold
from (
    select currency, balance_minor as balance, 0 as held from accounts
    union all
    select currency, 0, amount_minor from holds where ending is null
) as each
group by currency;

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, transfer_id, command_id, 'done' as kind, 'DebitAccount' as command, hold_id as subject, at
from holds
union all
select ended_seq, saga_id, transfer_id, ended_by,
    case ending when 'credited' then 'done' else 'undone' end,
    case ending when 'credited' then 'CreditAccount' else 'ReturnDebit' end,
    hold_id, ended_at
from holds where ending is not null;

-- XTS is the code that ISO 4217 keeps for tests: the ledger's book of it is closed.
insert into accounts (account_id, owner, currency, status, balance_minor) values
    ('acc-ann', 'Ann', 'EUR', 'open', 100000000000000),
    ('acc-bob', 'Bob', 'EUR', 'open', 100000000000000),
    ('acc-poor', 'Paul', 'EUR', 'open', 500),
    ('acc-closed', 'Clara', 'EUR', 'closed', 0),
    ('acc-dollars', 'Dan', 'USD', 'open', 100000000000000),
    ('acc-test-a', 'Tess', 'XTS', 'open', 100000000000000),
    ('acc-test-b', 'Theo', 'XTS', 'open', 0)
on conflict (account_id) do nothing;
