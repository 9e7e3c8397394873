-- name: for_projects
-- json_each is another function on PostgreSQL; out of an array it looks each id up, out of a subquery it may read all.
SELECT id, project_id, provider, key, weight, created_at_ms, updated_at_ms, replaced_by, retires_at_ms
FROM api_keys
WHERE project_id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))
ORDER BY project_id, provider, created_at_ms, id
LIMIT :limit
