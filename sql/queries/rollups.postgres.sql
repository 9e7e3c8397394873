-- name: known_names
-- PostgreSQL reads a JSON array into rows of the table's own type.
SELECT kept.day_ms, kept.project_id, kept.kind, kept.name
FROM json_populate_recordset(CAST(NULL AS rollup_names), CAST(:rows AS JSON)) AS wanted
CROSS JOIN LATERAL (
  SELECT day_ms, project_id, kind, name
  FROM rollup_names
  WHERE day_ms = wanted.day_ms
    AND project_id = wanted.project_id
    AND kind = wanted.kind
    AND name = wanted.name
  LIMIT 1
) AS kept

-- name: add_names
-- In one order, so that two dispatchers never wait for each other crosswise.
INSERT INTO rollup_names (day_ms, project_id, kind, name)
SELECT day_ms, project_id, kind, name
FROM json_populate_recordset(CAST(NULL AS rollup_names), CAST(:rows AS JSON))
ORDER BY day_ms, project_id, kind, name
ON CONFLICT (day_ms, project_id, kind, name) DO NOTHING
