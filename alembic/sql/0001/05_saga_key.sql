-- One saga per business key and definition name, whatever the version; outlives the saga itself.
CREATE TABLE saga_key (
    definition text NOT NULL,
    business_key text NOT NULL,
    saga_id uuid NOT NULL,
    input_hash bytea NOT NULL,
    CONSTRAINT a_business_key_starts_one_saga_per_definition PRIMARY KEY (definition, business_key),
    CONSTRAINT an_input_hash_is_a_sha256 CHECK (octet_length(input_hash) = 32)
)
