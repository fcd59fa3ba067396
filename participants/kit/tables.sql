-- What every participant built on the kit keeps in its own schema, beside its business tables.
-- Run at each start, under an advisory lock; every statement may run again.

-- One row per ACTION. The action and its compensation both take this row before anything else, so they
-- wait for each other even when two processes believe that they own the same partition.
create table if not exists kit_command (
    command_id text primary key,
    saga_id    text not null,
    outcome    text,
    answer     text,
    undo       text,
    at         timestamptz not null default clock_timestamp(),
    constraint an_action_ends_completed_or_refused check (outcome in ('completed', 'refused')),
    constraint an_outcome_comes_with_its_answer check ((outcome is null) = (answer is null)),
    constraint an_undo_says_undone_or_nothing_to_undo check (undo in ('undone', 'nothing_to_undo'))
);
-- Pruning walks by age over rows that arrive in that order: a few pages of BRIN instead of a second b-tree.
create index if not exists kit_command_by_age on kit_command using brin (at) with (pages_per_range = 32);

-- Replies that are committed and not yet acknowledged by Kafka. leave_at lies ahead for a reply that is to be late.
create table if not exists kit_outbox (
    id       bigint generated always as identity primary key,
    topic    text not null,
    part     integer not null,
    key      bytea not null,
    headers  text not null,
    value    bytea not null,
    copies   integer not null default 1,
    leave_at timestamptz not null default clock_timestamp(),
    tries    integer not null default 0,
    constraint a_reply_leaves_at_least_once check (copies >= 1),
    constraint a_partition_is_counted_from_zero check (part >= 0)
-- Rows live for milliseconds: vacuum by count, since a share of nearly nothing means nothing.
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- Records that are no commands, or that cannot even be decoded (one row may stand for a range of them): raw, with the
-- reason. Their offsets went on.
create table if not exists kit_dead_letter (
    topic       text not null,
    part        integer not null,
    record_offset bigint not null,
    reason      text not null,
    detail      text not null,
    key         bytea,
    value       bytea,
    headers     text not null,
    at          timestamptz not null default clock_timestamp(),
    primary key (topic, part, record_offset)
);

-- Events whose handling failed in a way that may pass: nobody asks again, so the participant does, later and later.
create table if not exists kit_event (
    topic       text not null,
    part        integer not null,
    record_offset bigint not null,
    headers     text not null,
    value       bytea not null,
    tries       integer not null default 1,
    run_at      timestamptz not null default clock_timestamp(),
    primary key (topic, part, record_offset)
);

-- Faults on demand, for demos and tests. Empty in production; read with each batch at no extra round trip.
create table if not exists faults (
    id        bigint generated always as identity primary key,
    command   text not null default '*',
    match     text,
    kind      text not null,
    seconds   double precision,
    copies    integer,
    code      text,
    phase     text,
    remaining integer,
    at        timestamptz not null default clock_timestamp(),
    constraint a_fault_is_of_a_known_kind
        check (kind in ('slow', 'silent', 'drop', 'duplicate', 'refuse', 'retry', 'fail_undo', 'crash')),
    constraint only_a_slow_fault_takes_seconds check ((kind = 'slow') = (seconds is not null) and seconds >= 0),
    constraint only_a_duplicate_fault_takes_copies check ((kind = 'duplicate') = (copies is not null) and copies >= 1),
    constraint only_a_crash_fault_takes_a_phase check ((kind = 'crash') = (phase is not null)),
    constraint a_crash_has_a_known_phase check (phase in ('before_commit', 'after_commit', 'after_publish')),
    constraint a_fault_never_remains_less_than_zero_times check (remaining >= 0)
);
