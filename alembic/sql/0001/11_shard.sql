-- One row per partition of the reply topic: who owns it, how far it was read, and the verdicts so far.
-- next_offset and the verdicts move in the same statement as the effects of the records they count.
CREATE TABLE shard (
    part smallint CONSTRAINT a_partition_has_one_owner_row PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    claimed_at timestamptz,
    cluster_id text NOT NULL,
    first_offset bigint NOT NULL DEFAULT 0,
    next_offset bigint NOT NULL DEFAULT 0,
    applied bigint NOT NULL DEFAULT 0,
    duplicate bigint NOT NULL DEFAULT 0,
    stale bigint NOT NULL DEFAULT 0,
    "foreign" bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    events_through timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT every_consumed_offset_has_at_most_one_verdict CHECK (
        applied + duplicate + stale + "foreign" + quarantined <= next_offset - first_offset)
) WITH (fillfactor = 10)
