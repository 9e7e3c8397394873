-- name: names
-- json_each is another function on PostgreSQL; out of an array it looks each id up, out of a subquery it may read all.
SELECT id, name
FROM projects
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))
