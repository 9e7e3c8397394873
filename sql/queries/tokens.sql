-- name: by_hash
-- Whose token is this? Also by the secret that it had before the last rotation.
SELECT id, project_id, token_hash, hint, is_active, expires_at_ms, max_requests, request_count, cache_hit_count,
       created_at_ms, last_used_at_ms, deactivated_at_ms, previous_hash, previous_until_ms
FROM tokens
WHERE token_hash = :token_hash
UNION ALL
SELECT id, project_id, token_hash, hint, is_active, expires_at_ms, max_requests, request_count, cache_hit_count,
       created_at_ms, last_used_at_ms, deactivated_at_ms, previous_hash, previous_until_ms
FROM tokens
WHERE previous_hash = :token_hash

-- name: get
-- Which token has this id?
SELECT id, project_id, token_hash, hint, is_active, expires_at_ms, max_requests, request_count, cache_hit_count,
       created_at_ms, last_used_at_ms, deactivated_at_ms, previous_hash, previous_until_ms
FROM tokens
WHERE id = :id

-- name: create
-- Adds a token to a project.
INSERT INTO tokens (id, project_id, token_hash, hint, is_active, expires_at_ms, max_requests, request_count,
                    cache_hit_count, created_at_ms, last_used_at_ms, deactivated_at_ms, previous_hash,
                    previous_until_ms)
VALUES (:id, :project_id, :token_hash, :hint, :is_active, :expires_at_ms, :max_requests, :request_count,
        :cache_hit_count, :created_at_ms, :last_used_at_ms, :deactivated_at_ms, :previous_hash,
        :previous_until_ms)

-- name: update
-- Changes what an admin may change; the counts belong to the traffic.
UPDATE tokens
SET hint = :hint,
    is_active = :is_active,
    expires_at_ms = :expires_at_ms,
    max_requests = :max_requests,
    deactivated_at_ms = :deactivated_at_ms
WHERE id = :id

-- name: rotate
-- Gives a token another secret; the one it had is taken until `previous_until_ms`.
UPDATE tokens
SET token_hash = :token_hash,
    hint = :hint,
    previous_hash = :previous_hash,
    previous_until_ms = :previous_until_ms
WHERE id = :id

-- name: list_page
-- Which tokens are there, newest first? `expired_at_ms` asks for those expired by then, `live_at_ms` for the others;
-- `used_up` for those without a request left, `quota_left` for the others.
SELECT id, project_id, token_hash, hint, is_active, expires_at_ms, max_requests, request_count, cache_hit_count,
       created_at_ms, last_used_at_ms, deactivated_at_ms, previous_hash, previous_until_ms
FROM tokens
WHERE TRUE
  AND project_id = :project_id  -- if project_id
  AND is_active = :is_active  -- if is_active
  AND expires_at_ms <= :expired_at_ms  -- if expired_at_ms
  AND (expires_at_ms IS NULL OR expires_at_ms > :live_at_ms)  -- if live_at_ms
  AND request_count >= max_requests  -- if used_up
  AND (max_requests IS NULL OR request_count < max_requests)  -- if quota_left
  AND (created_at_ms, id) < (:after_at_ms, :after_id)  -- if after_at_ms
ORDER BY created_at_ms DESC, id DESC
LIMIT :limit
OFFSET :offset

-- name: count
-- How many tokens does the list have?
SELECT COUNT(*) AS n
FROM tokens
WHERE TRUE
  AND project_id = :project_id  -- if project_id
  AND is_active = :is_active  -- if is_active
  AND expires_at_ms <= :expired_at_ms  -- if expired_at_ms
  AND (expires_at_ms IS NULL OR expires_at_ms > :live_at_ms)  -- if live_at_ms
  AND request_count >= max_requests  -- if used_up
  AND (max_requests IS NULL OR request_count < max_requests)  -- if quota_left

-- name: revoke
-- Stops a token that is active.
UPDATE tokens
SET is_active = FALSE,
    deactivated_at_ms = :now_ms
WHERE id = :id
  AND is_active

-- name: revoke_all
-- Stops every active token of a project; which ones?
UPDATE tokens
SET is_active = FALSE,
    deactivated_at_ms = :now_ms
WHERE project_id = :project_id
  AND is_active
RETURNING token_hash, previous_hash

-- name: admit
-- Is there one more request in it? If so, it is taken: one statement, so exact over all workers.
UPDATE tokens
SET request_count = request_count + 1,
    last_used_at_ms = CASE WHEN last_used_at_ms > :now_ms THEN last_used_at_ms ELSE :now_ms END
WHERE id = :id
  AND is_active
  AND (expires_at_ms IS NULL OR expires_at_ms > :now_ms)
  AND (max_requests IS NULL OR request_count < max_requests)

-- name: add_usage
-- Adds what a worker has counted by itself.
UPDATE tokens
SET request_count = request_count + :requests,
    cache_hit_count = cache_hit_count + :cache_hits,
    last_used_at_ms = CASE WHEN last_used_at_ms > :last_used_at_ms THEN last_used_at_ms ELSE :last_used_at_ms END
WHERE id = :id
