-- Notification: what customers were told, and who cannot be told anything. Every statement may run again.
create sequence if not exists effect_seq;

create table if not exists blocked_recipients (
    email  text primary key,
    reason text not null,
    constraint a_recipient_is_blocked_for_a_known_reason check (reason in ('bounced', 'unsubscribed'))
);

create table if not exists notices (
    seq        bigint not null default nextval('effect_seq'),
    notice_id  text primary key,
    kind       text not null,
    command_id text not null constraint one_command_sends_once unique,
    saga_id    text not null,
    order_id   text not null,
    email      text not null,
    cancels    text constraint a_notice_is_cancelled_once unique references notices,
    at         timestamptz not null default clock_timestamp(),
    constraint a_notice_confirms_or_cancels check (kind in ('confirmation', 'cancellation')),
    constraint only_a_cancellation_cancels check ((kind = 'cancellation') = (cancels is not null))
);
create index if not exists notices_by_order on notices (order_id);

-- What is sent once and never taken back: it is about a transfer or a trip.
create table if not exists mails (
    seq        bigint not null default nextval('effect_seq'),
    mail_id    text primary key,
    kind       text not null,
    command_id text not null constraint one_command_mails_once unique,
    saga_id    text not null,
    about      text not null,
    recipients jsonb not null,
    at         timestamptz not null default clock_timestamp(),
    constraint a_mail_is_a_transfer_notice_or_an_itinerary check (kind in ('transfer_notice', 'itinerary')),
    constraint a_mail_has_a_recipient_at_least check (jsonb_array_length(recipients) >= 1)
);
create index if not exists mails_by_what_they_are_about on mails (about);

-- What was done and undone, in one shape for all participants.
create or replace view effects as
select seq, saga_id, order_id, command_id,
    case kind when 'confirmation' then 'done' else 'undone' end as kind,
    case kind when 'confirmation' then 'SendOrderConfirmation' else 'SendCancellationNotice' end as command,
    coalesce(cancels, notice_id) as subject, at
from notices
union all
select seq, saga_id, about, command_id, 'done',
    case kind when 'itinerary' then 'SendItinerary' else 'SendTransferNotice' end, mail_id, at
from mails;

insert into blocked_recipients (email, reason) values
    ('bounced@example.com', 'bounced'), ('unsubscribed@example.com', 'unsubscribed')
on conflict (email) do nothing;
