-- The sagas of a batch operation, at the versions that were confirmed, and what came of each; no outcome: not yet. The
-- operation is no foreign key: its check would cost more than the rows, which come and go with it in one statement.
CREATE TABLE batch_operation_item (
    operation_id uuid NOT NULL,
    saga_id uuid NOT NULL,
    version integer NOT NULL,
    version_after integer,
    outcome text,
    detail text,
    CONSTRAINT a_batch_operation_has_each_saga_once PRIMARY KEY (operation_id, saga_id),
    CONSTRAINT an_item_is_done_or_refused_or_failed CHECK (outcome IN ('done', 'refused', 'failed')),
    CONSTRAINT an_item_that_is_not_done_says_why CHECK ((outcome IN ('refused', 'failed')) = (detail IS NOT NULL)),
    CONSTRAINT an_item_that_is_done_says_its_version CHECK (outcome IS DISTINCT FROM 'done' OR version_after IS NOT NULL)
) WITH (fillfactor = 70)
