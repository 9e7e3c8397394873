-- name: for_project
-- Which keys may a project call with?
SELECT id, project_id, provider, key, weight, created_at_ms, updated_at_ms, replaced_by, retires_at_ms
FROM api_keys
WHERE project_id = :project_id
ORDER BY provider, created_at_ms, id
LIMIT :limit

-- name: for_projects
-- Which keys may these projects call with? `ids` is a JSON array.
SELECT id, project_id, provider, key, weight, created_at_ms, updated_at_ms, replaced_by, retires_at_ms
FROM api_keys
WHERE project_id IN (SELECT value FROM json_each(:ids))
ORDER BY project_id, provider, created_at_ms, id
LIMIT :limit

-- name: get
-- Which key has this id?
SELECT id, project_id, provider, key, weight, created_at_ms, updated_at_ms, replaced_by, retires_at_ms
FROM api_keys
WHERE id = :id

-- name: create
-- Adds a key to a project.
INSERT INTO api_keys (id, project_id, provider, key, weight, created_at_ms, updated_at_ms, replaced_by, retires_at_ms)
VALUES (:id, :project_id, :provider, :key, :weight, :created_at_ms, :updated_at_ms, :replaced_by, :retires_at_ms)

-- name: update
-- Changes a key or its weight; it stays with its project.
UPDATE api_keys
SET provider = :provider,
    key = :key,
    weight = :weight,
    updated_at_ms = :updated_at_ms,
    replaced_by = :replaced_by,
    retires_at_ms = :retires_at_ms
WHERE id = :id
  AND project_id = :project_id

-- name: delete
-- Takes a key away from its project.
DELETE FROM api_keys
WHERE id = :id
  AND project_id = :project_id

-- name: delete_retired
-- Which keys were replaced long enough ago?
DELETE FROM api_keys
WHERE retires_at_ms <= :now_ms
