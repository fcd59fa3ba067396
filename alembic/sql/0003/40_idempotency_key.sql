-- What a request with an Idempotency-Key was answered, for a day. A claim without an answer is of a request in flight, or
-- of one that nobody will ever answer: after a while another may take it over. Keys are everybody's own.
CREATE TABLE idempotency_key (
    actor text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    claim uuid NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    tries integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    status smallint,
    headers text,
    body bytea,
    CONSTRAINT a_key_stands_for_one_request_of_an_actor PRIMARY KEY (actor, key),
    CONSTRAINT a_fingerprint_of_a_request_is_a_sha256 CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT an_answer_has_status_headers_and_body CHECK (num_nonnulls(status, headers, body) IN (0, 3)),
    CONSTRAINT what_failed_here_is_no_answer_to_keep CHECK (status < 500)
)
