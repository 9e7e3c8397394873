-- name: insert
-- Which of these rows are new? Those are kept; the others were here before.
INSERT INTO requests (event_id, request_id, accepted_at_ms, trace_id, method, path, status, code, client_ip, user_agent,
                      project_id, token_id, organisation, session_id, conversation_id, end_user, provider, dialect,
                      model, response_model, response_id, input_tokens, cache_read_tokens, cache_write_tokens,
                      output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_microusd,
                      upstream_head_us, first_byte_us, last_byte_us, overhead_us, request_bytes, response_bytes,
                      streamed, cut, cached, attempts, cache_write_1h_tokens, usage_source, price_source,
                      service_tier)
VALUES (:event_id, :request_id, :accepted_at_ms, :trace_id, :method, :path, :status, :code, :client_ip, :user_agent,
        :project_id, :token_id, :organisation, :session_id, :conversation_id, :end_user, :provider, :dialect, :model,
        :response_model, :response_id, :input_tokens, :cache_read_tokens, :cache_write_tokens, :output_tokens,
        :reasoning_tokens, :audio_input_tokens, :audio_output_tokens, :cost_microusd, :upstream_head_us, :first_byte_us,
        :last_byte_us, :overhead_us, :request_bytes, :response_bytes, :streamed, :cut, :cached, :attempts,
        :cache_write_1h_tokens, :usage_source, :price_source, :service_tier)
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id

-- name: insert_body
-- Keeps a body of an exchange.
INSERT INTO request_bodies (event_id, side, accepted_at_ms, data, content_type, content_encoding, truncated)
VALUES (:event_id, :side, :accepted_at_ms, :data, :content_type, :content_encoding, :truncated)
ON CONFLICT (event_id, side) DO NOTHING

-- name: add_minute
-- Adds new rows to the sums of a minute, of their project or of all ('*').
-- An unknown cost adds nothing; it stays unknown while no row has one.
INSERT INTO request_minutes (project_id, minute_ms, requests, errors, prompt_tokens, completion_tokens, cost_microusd)
VALUES (:project_id, :minute_ms, :requests, :errors, :prompt_tokens, :completion_tokens, :cost_microusd)
ON CONFLICT (project_id, minute_ms) DO UPDATE
SET requests = request_minutes.requests + excluded.requests,
    errors = request_minutes.errors + excluded.errors,
    prompt_tokens = request_minutes.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = request_minutes.completion_tokens + excluded.completion_tokens,
    cost_microusd = COALESCE(request_minutes.cost_microusd + excluded.cost_microusd,
                             request_minutes.cost_microusd,
                             excluded.cost_microusd)

-- name: get
-- What became of this exchange?
SELECT event_id, request_id, accepted_at_ms, trace_id, method, path, status, code, client_ip, user_agent,
       project_id, token_id, organisation, session_id, conversation_id, end_user, provider, dialect,
       model, response_model, response_id, input_tokens, cache_read_tokens, cache_write_tokens,
       output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_microusd,
       upstream_head_us, first_byte_us, last_byte_us, overhead_us, request_bytes, response_bytes,
       streamed, cut, cached, attempts, cache_write_1h_tokens, usage_source, price_source, service_tier
FROM requests
WHERE event_id = :event_id

-- name: bodies
-- What was said in it?
SELECT event_id, side, data, content_type, content_encoding, truncated
FROM request_bodies
WHERE event_id = :event_id
ORDER BY side
LIMIT 2

-- name: list_page
-- Which exchanges were there, newest first? `failed` repeats in words the planner knows what `status_from` says.
SELECT event_id, request_id, accepted_at_ms, trace_id, method, path, status, code, client_ip, user_agent,
       project_id, token_id, organisation, session_id, conversation_id, end_user, provider, dialect,
       model, response_model, response_id, input_tokens, cache_read_tokens, cache_write_tokens,
       output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_microusd,
       upstream_head_us, first_byte_us, last_byte_us, overhead_us, request_bytes, response_bytes,
       streamed, cut, cached, attempts, cache_write_1h_tokens, usage_source, price_source, service_tier
FROM requests
WHERE TRUE
  AND project_id = :project_id  -- if project_id
  AND token_id = :token_id  -- if token_id
  AND model = :model  -- if model
  AND provider = :provider  -- if provider
  AND status >= 400 AND status >= :failed_from  -- if failed_from
  AND status >= :status_from  -- if status_from
  AND status < :status_below  -- if status_below
  AND code <> '' AND code = :code  -- if code
  AND request_id >= :request_id_from  -- if request_id_from
  AND request_id < :request_id_below  -- if request_id_below
  AND accepted_at_ms >= :since_ms  -- if since_ms
  AND accepted_at_ms < :until_ms  -- if until_ms
  AND (accepted_at_ms, event_id) < (:before_at_ms, :before_id)  -- if before_at_ms
ORDER BY accepted_at_ms DESC, event_id DESC
LIMIT :limit

-- name: count_capped
-- How many exchanges does the list have, counted no further than the cap?
SELECT COUNT(*) AS n
FROM (
  SELECT 1
  FROM requests
  WHERE TRUE
    AND project_id = :project_id  -- if project_id
    AND token_id = :token_id  -- if token_id
    AND model = :model  -- if model
    AND provider = :provider  -- if provider
    AND status >= 400 AND status >= :failed_from  -- if failed_from
    AND status >= :status_from  -- if status_from
    AND status < :status_below  -- if status_below
    AND code <> '' AND code = :code  -- if code
    AND request_id >= :request_id_from  -- if request_id_from
    AND request_id < :request_id_below  -- if request_id_below
    AND accepted_at_ms >= :since_ms  -- if since_ms
    AND accepted_at_ms < :until_ms  -- if until_ms
  LIMIT :cap
) AS counted

-- name: sums
-- How much was there in these minutes, of a project or of all ('*')?
SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT) AS requests,
       CAST(COALESCE(SUM(errors), 0) AS BIGINT) AS errors,
       CAST(COALESCE(SUM(prompt_tokens), 0) AS BIGINT) AS prompt_tokens,
       CAST(COALESCE(SUM(completion_tokens), 0) AS BIGINT) AS completion_tokens,
       CAST(SUM(cost_microusd) AS BIGINT) AS cost_microusd
FROM request_minutes
WHERE project_id = :sums_of
  AND minute_ms >= :since_ms
  AND minute_ms < :until_ms

-- name: durations
-- How long did the newest exchanges of a window take?
SELECT last_byte_us
FROM requests
WHERE accepted_at_ms >= :since_ms
  AND accepted_at_ms < :until_ms
  AND project_id = :project_id  -- if project_id
ORDER BY accepted_at_ms DESC, event_id DESC
LIMIT :limit

-- name: minute_series
-- How many exchanges and errors were there per bucket of whole minutes?
SELECT minute_ms / :bucket_ms * :bucket_ms AS bucket_ms,
       CAST(SUM(requests) AS BIGINT) AS requests,
       CAST(SUM(errors) AS BIGINT) AS errors
FROM request_minutes
WHERE project_id = :sums_of
  AND minute_ms >= :since_ms
  AND minute_ms < :until_ms
GROUP BY 1
ORDER BY 1
LIMIT :limit

-- name: fine_series
-- The same for buckets that are no whole minutes, from the rows themselves.
SELECT accepted_at_ms / :bucket_ms * :bucket_ms AS bucket_ms,
       COUNT(*) AS requests,
       SUM(CASE WHEN status >= 400 OR status < 100 OR cut IN ('upstream', 'interrupted') THEN 1 ELSE 0 END) AS errors
FROM requests
WHERE accepted_at_ms >= :since_ms
  AND accepted_at_ms < :until_ms
GROUP BY 1
ORDER BY 1
LIMIT :limit

-- name: delete_bodies_before
-- Which bodies have been kept long enough? Oldest first, a piece at a time.
DELETE FROM request_bodies
WHERE (event_id, side) IN (
  SELECT event_id, side
  FROM request_bodies
  WHERE accepted_at_ms < :before_ms
  ORDER BY accepted_at_ms
  LIMIT :limit
)
