-- get_migration: the migration at which the database stands.
SELECT version_num FROM alembic_version
