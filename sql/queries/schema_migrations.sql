-- name: lock
-- Keeps others from migrating until the transaction ends. SQLite has one writer at a time anyway.
SELECT 1 AS held

-- name: table_exists
-- Has this database ever been migrated?
SELECT name
FROM sqlite_master
WHERE type = 'table'
  AND name = 'schema_migrations'

-- name: create_table
-- What has been applied.
CREATE TABLE IF NOT EXISTS schema_migrations (
  "set" TEXT NOT NULL,
  version BIGINT NOT NULL,
  name TEXT NOT NULL,
  checksum TEXT NOT NULL,
  applied_at_ms BIGINT NOT NULL,
  PRIMARY KEY ("set", version)
)

-- name: applied
-- Which migrations of a set have been applied?
SELECT version, name, checksum, applied_at_ms
FROM schema_migrations
WHERE "set" = :set
ORDER BY version

-- name: add
-- Notes that a migration has been applied.
INSERT INTO schema_migrations ("set", version, name, checksum, applied_at_ms)
VALUES (:set, :version, :name, :checksum, :applied_at_ms)

-- name: remove
-- Notes that a migration has been taken back.
DELETE FROM schema_migrations
WHERE "set" = :set
  AND version = :version
