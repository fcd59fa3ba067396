"""Production's engine driven by a seed: virtual time, and a Postgres and a Kafka that lie as the real ones do."""
