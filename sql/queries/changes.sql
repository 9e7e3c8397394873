-- name: lock
-- Takes this transaction's place among those that write changes. SQLite has one writer at a time anyway.
SELECT 1 AS held

-- name: append
-- Tells all processes to forget something.
INSERT INTO changes (kind, key, at_ms)
VALUES (:kind, :key, :at_ms)

-- name: after
-- What is new since the change that was seen last?
SELECT id, kind, key
FROM changes
WHERE id > :last_id
ORDER BY id
LIMIT :limit

-- name: last_id
-- Where does a process start that remembers nothing yet?
SELECT COALESCE(MAX(id), 0) AS id
FROM changes

-- name: prune
-- Which changes has every process seen long ago?
DELETE FROM changes
WHERE at_ms < :before_ms
