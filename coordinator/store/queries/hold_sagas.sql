-- hold_sagas: let sagas queue for a participant that takes no new actions at present. Their rows wake for their other
-- deadlines only, at the latest for a look after a while; without one they have no deadline, for nothing times out.
-- A saga that has moved on meanwhile is left alone; one that stands in the queue already does so anew from now on, so
-- that a release of before does not take it out. Answers what came to the queue.
WITH asked AS (
    SELECT
        x.id, x.version, x.participant,
        to_timestamp(x.wake_ms::double precision / 1000) AS wake_at,
        to_timestamp(x.deadline_ms::double precision / 1000) AS deadline
    FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::bigint[], $5::bigint[])
        AS x (id, version, participant, wake_ms, deadline_ms)
),
resting AS (
    UPDATE saga AS s SET wake_at = a.wake_at, deadline = a.deadline
    FROM asked AS a
    WHERE s.id = a.id AND s.version = a.version AND s.wake_at IS NOT NULL
    RETURNING s.id, s.part
),
queued AS (
    INSERT INTO held_step (participant, saga_id, part)
    SELECT DISTINCT a.participant, r.id, r.part FROM resting AS r JOIN asked AS a ON a.id = r.id
    ON CONFLICT (participant, saga_id) DO UPDATE SET held_at = excluded.held_at
    RETURNING participant, xmax = 0 AS is_new
)
SELECT participant FROM queued WHERE is_new
