-- Ledger: double entry. Every entry has one debit and one credit of its own amount, and nothing is ever changed or
-- deleted: what was wrong is reversed by another entry. Every statement may run again.
create sequence if not exists effect_seq;

create table if not exists books (
    currency text primary key,
    status   text not null default 'open',
    constraint a_book_has_a_currency_of_three_capitals check (currency ~ '^[A-Z]{3}$'),
    constraint a_book_is_open_or_closed check (status in ('open', 'closed'))
);

create table if not exists entries (
    seq          bigint not null default nextval('effect_seq'),
    entry_id     text primary key,
    command_id   text not null constraint one_command_writes_one_entry unique,
    saga_id      text not null,
    transfer_id  text not null,
    amount_minor bigint not null,
    currency     text not null references books,
    reverses     text constraint an_entry_is_reversed_once unique references entries,
    at           timestamptz not null default clock_timestamp(),
    constraint an_entry_has_one_amount unique (entry_id, amount_minor, currency),
    constraint an_entry_is_about_some_money check (amount_minor > 0),
    constraint an_entry_never_reverses_itself check (reverses <> entry_id)
);
create index if not exists entries_by_transfer on entries (transfer_id);

-- The primary key allows one row per side, the foreign key no other amount than the entry's: the two sides cannot differ.
create table if not exists postings (
    entry_id     text not null,
    side         text not null,
    account_id   text not null,
    amount_minor bigint not null,
    currency     text not null,
    change_minor bigint not null generated always as (case side when 'debit' then -amount_minor else amount_minor end) stored,
    primary key (entry_id, side),
    constraint a_posting_has_the_amount_of_its_entry
        foreign key (entry_id, amount_minor, currency) references entries (entry_id, amount_minor, currency),
    constraint a_posting_is_a_debit_or_a_credit check (side in ('debit', 'credit'))
);
create index if not exists postings_by_account on postings (account_id);

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, transfer_id, command_id,
    case when reverses is null then 'done' else 'undone' end as kind,
    case when reverses is null then 'RecordTransfer' else 'VoidTransfer' end as command,
    coalesce(reverses, entry_id) as subject, at
from entries;

-- XTS is the code that ISO 4217 keeps for tests: nobody records it.
insert into books (currency, status) values ('EUR', 'open'), ('GBP', 'open'), ('USD', 'open'), ('XTS', 'closed')
on conflict (currency) do nothing;
