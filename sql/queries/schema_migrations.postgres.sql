-- name: lock
-- A number of our own among PostgreSQL's advisory locks.
SELECT pg_advisory_xact_lock(7201002) AS held

-- name: table_exists
-- to_regclass looks along the search path, as the statements do.
SELECT 1 AS name
WHERE to_regclass('schema_migrations') IS NOT NULL
