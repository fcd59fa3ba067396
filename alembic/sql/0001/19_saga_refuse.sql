-- Ends the statement that calls it: the batch is taken whole or not at all. SQLSTATE SG409 = a row has moved on,
-- SG410 = the partition has another owner or another offset.
CREATE FUNCTION saga_refuse(state text, sentence text) RETURNS integer
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = sentence;
END
$$
