-- push_wake: a saga woke although its deadline has moved on since: wake at the deadline. The value comes from the
-- row itself, so a transition in between cannot be overwritten; the version stays.
UPDATE saga SET wake_at = deadline
WHERE id = ANY($1::uuid[]) AND wake_at < deadline
