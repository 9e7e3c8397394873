-- name: get
-- Which project has this id?
SELECT id, name, is_active, recording, created_at_ms, updated_at_ms, deactivated_at_ms, on_disconnect
FROM projects
WHERE id = :id

-- name: create
-- Adds a project.
INSERT INTO projects (id, name, is_active, recording, created_at_ms, updated_at_ms, deactivated_at_ms, on_disconnect)
VALUES (:id, :name, :is_active, :recording, :created_at_ms, :updated_at_ms, :deactivated_at_ms, :on_disconnect)

-- name: update
-- Changes everything of a project but its id and its birth.
UPDATE projects
SET name = :name,
    is_active = :is_active,
    recording = :recording,
    updated_at_ms = :updated_at_ms,
    deactivated_at_ms = :deactivated_at_ms,
    on_disconnect = :on_disconnect
WHERE id = :id

-- name: list_page
-- Which projects are there, by name (which is unique)? `pattern` is a LIKE pattern in lower case.
SELECT id, name, is_active, recording, created_at_ms, updated_at_ms, deactivated_at_ms, on_disconnect
FROM projects
WHERE TRUE
  AND LOWER(name) LIKE :pattern ESCAPE '\'  -- if pattern
  AND is_active = :is_active  -- if is_active
  AND (name, id) > (:after_name, :after_id)  -- if after_name
ORDER BY name
LIMIT :limit
OFFSET :offset

-- name: count
-- How many projects does the list have?
SELECT COUNT(*) AS n
FROM projects
WHERE TRUE
  AND LOWER(name) LIKE :pattern ESCAPE '\'  -- if pattern
  AND is_active = :is_active  -- if is_active

-- name: names
-- What are the projects of these ids called? `ids` is a JSON array.
SELECT id, name
FROM projects
WHERE id IN (SELECT value FROM json_each(:ids))
