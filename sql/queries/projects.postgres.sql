-- name: names
-- json_each is another function on PostgreSQL.
SELECT id, name
FROM projects
WHERE id IN (SELECT json_array_elements_text(CAST(:ids AS JSON)))
