-- name: known_names
-- Which of these models and end users have sums of their own on their day already?
SELECT kept.day_ms, kept.project_id, kept.kind, kept.name
FROM json_each(:rows)
CROSS JOIN rollup_names AS kept
WHERE kept.day_ms = json_each.value ->> 'day_ms'
  AND kept.project_id = json_each.value ->> 'project_id'
  AND kept.kind = json_each.value ->> 'kind'
  AND kept.name = json_each.value ->> 'name'

-- name: count_names
-- How many are there on a day of a project already?
SELECT COUNT(*) AS n
FROM rollup_names
WHERE day_ms = :day_ms
  AND project_id = :project_id
  AND kind = :kind

-- name: add_names
-- Gives these sums of their own from now on.
INSERT INTO rollup_names (day_ms, project_id, kind, name)
SELECT value ->> 'day_ms', value ->> 'project_id', value ->> 'kind', value ->> 'name'
FROM json_each(:rows)
WHERE TRUE
ON CONFLICT (day_ms, project_id, kind, name) DO NOTHING

-- name: add
-- Adds what is new to its periods. An unknown cost adds nothing; a sum stays unknown while no row has one.
INSERT INTO rollups (period, start_ms, project_id, token_id, provider, model, end_user, requests, errors,
                     input_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens,
                     reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_microusd, cost_unknown, estimated)
VALUES (:period, :start_ms, :project_id, :token_id, :provider, :model, :end_user, :requests, :errors,
        :input_tokens, :cache_read_tokens, :cache_write_tokens, :cache_write_1h_tokens, :output_tokens,
        :reasoning_tokens, :audio_input_tokens, :audio_output_tokens, :cost_microusd, :cost_unknown, :estimated)
ON CONFLICT (project_id, period, start_ms, token_id, provider, model, end_user) DO UPDATE
SET requests = rollups.requests + excluded.requests,
    errors = rollups.errors + excluded.errors,
    input_tokens = rollups.input_tokens + excluded.input_tokens,
    cache_read_tokens = rollups.cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = rollups.cache_write_tokens + excluded.cache_write_tokens,
    cache_write_1h_tokens = rollups.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
    output_tokens = rollups.output_tokens + excluded.output_tokens,
    reasoning_tokens = rollups.reasoning_tokens + excluded.reasoning_tokens,
    audio_input_tokens = rollups.audio_input_tokens + excluded.audio_input_tokens,
    audio_output_tokens = rollups.audio_output_tokens + excluded.audio_output_tokens,
    cost_microusd = COALESCE(rollups.cost_microusd + excluded.cost_microusd,
                             rollups.cost_microusd,
                             excluded.cost_microusd),
    cost_unknown = rollups.cost_unknown + excluded.cost_unknown,
    estimated = rollups.estimated + excluded.estimated

-- name: spent
-- How much was there in these whole periods?
SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT) AS requests,
       CAST(COALESCE(SUM(errors), 0) AS BIGINT) AS errors,
       CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT) AS input_tokens,
       CAST(COALESCE(SUM(cache_read_tokens), 0) AS BIGINT) AS cache_read_tokens,
       CAST(COALESCE(SUM(cache_write_tokens), 0) AS BIGINT) AS cache_write_tokens,
       CAST(COALESCE(SUM(cache_write_1h_tokens), 0) AS BIGINT) AS cache_write_1h_tokens,
       CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT) AS output_tokens,
       CAST(COALESCE(SUM(reasoning_tokens), 0) AS BIGINT) AS reasoning_tokens,
       CAST(COALESCE(SUM(audio_input_tokens), 0) AS BIGINT) AS audio_input_tokens,
       CAST(COALESCE(SUM(audio_output_tokens), 0) AS BIGINT) AS audio_output_tokens,
       CAST(SUM(cost_microusd) AS BIGINT) AS cost_microusd,
       CAST(COALESCE(SUM(cost_unknown), 0) AS BIGINT) AS cost_unknown,
       CAST(COALESCE(SUM(estimated), 0) AS BIGINT) AS estimated
FROM rollups
WHERE period = :period
  AND start_ms >= :since_ms
  AND start_ms < :until_ms
  AND project_id = :project_id  -- if project_id
  AND token_id = :token_id  -- if token_id
  AND provider = :provider  -- if provider
  AND model = :model  -- if model
  AND end_user <> '' AND end_user = :end_user  -- if end_user

-- name: usage
-- How much was there in each period, by one of the five, oldest first?
SELECT start_ms, name,
       CAST(SUM(requests) AS BIGINT) AS requests,
       CAST(SUM(errors) AS BIGINT) AS errors,
       CAST(SUM(input_tokens) AS BIGINT) AS input_tokens,
       CAST(SUM(cache_read_tokens) AS BIGINT) AS cache_read_tokens,
       CAST(SUM(cache_write_tokens) AS BIGINT) AS cache_write_tokens,
       CAST(SUM(cache_write_1h_tokens) AS BIGINT) AS cache_write_1h_tokens,
       CAST(SUM(output_tokens) AS BIGINT) AS output_tokens,
       CAST(SUM(reasoning_tokens) AS BIGINT) AS reasoning_tokens,
       CAST(SUM(audio_input_tokens) AS BIGINT) AS audio_input_tokens,
       CAST(SUM(audio_output_tokens) AS BIGINT) AS audio_output_tokens,
       CAST(SUM(cost_microusd) AS BIGINT) AS cost_microusd,
       CAST(SUM(cost_unknown) AS BIGINT) AS cost_unknown,
       CAST(SUM(estimated) AS BIGINT) AS estimated
FROM (
  SELECT start_ms, requests, errors, input_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens,
         output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_microusd, cost_unknown,
         estimated,
         CASE CAST(:by AS TEXT)
           WHEN 'project' THEN project_id
           WHEN 'token' THEN token_id
           WHEN 'provider' THEN provider
           WHEN 'model' THEN model
           ELSE end_user
         END AS name
  FROM rollups
  WHERE period = :period
    AND start_ms >= :since_ms
    AND start_ms < :until_ms
    AND project_id = :project_id  -- if project_id
    AND token_id = :token_id  -- if token_id
    AND provider = :provider  -- if provider
    AND model = :model  -- if model
    AND end_user <> '' AND end_user = :end_user  -- if end_user
) AS named
WHERE TRUE
  AND (start_ms, name) > (:after_ms, :after_name)  -- if after_ms
GROUP BY start_ms, name
ORDER BY start_ms, name
LIMIT :limit

-- name: first_start
-- When does the first period begin that there is in a window?
SELECT MIN(start_ms) AS start_ms
FROM rollups
WHERE period = :period
  AND start_ms >= :since_ms
  AND start_ms < :until_ms

-- name: delete_oldest_minute
-- Which minute has been kept long enough? The oldest, with all its sums.
DELETE FROM rollups
WHERE period = 'minute'
  AND start_ms = (SELECT MIN(start_ms) FROM rollups WHERE period = 'minute' AND start_ms < :before_ms)

-- name: delete_names_before
-- Which days get no new names any more?
DELETE FROM rollup_names
WHERE day_ms < :before_ms
