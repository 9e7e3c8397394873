-- name: get
-- Which document is in force?
SELECT id, version, document, updated_at_ms, updated_by
FROM policies
WHERE id = :id

-- name: create
-- Adds the document, unless it is there.
INSERT INTO policies (id, version, document, updated_at_ms, updated_by)
VALUES (:id, :version, :document, :updated_at_ms, :updated_by)
ON CONFLICT (id) DO NOTHING

-- name: update
-- Puts another document in the place of the one that was read, unless somebody else did meanwhile.
UPDATE policies
SET version = :version,
    document = :document,
    updated_at_ms = :updated_at_ms,
    updated_by = :updated_by
WHERE id = :id
  AND version = :expected_version
