-- Two random UUIDs have 244 random bits.
INSERT INTO installation (secret) VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
