-- name: by_hash
-- Who shows this secret? Also the one before the last rotation; whether it still counts is for the reader to say.
SELECT id, name, token_hash, hint, scopes, created_at_ms, expires_at_ms, last_used_at_ms, revoked_at_ms,
       previous_hash, previous_until_ms
FROM management_tokens
WHERE token_hash = :token_hash
UNION ALL
SELECT id, name, token_hash, hint, scopes, created_at_ms, expires_at_ms, last_used_at_ms, revoked_at_ms,
       previous_hash, previous_until_ms
FROM management_tokens
WHERE previous_hash = :token_hash

-- name: get
-- Which management token has this id?
SELECT id, name, token_hash, hint, scopes, created_at_ms, expires_at_ms, last_used_at_ms, revoked_at_ms,
       previous_hash, previous_until_ms
FROM management_tokens
WHERE id = :id

-- name: list_page
-- Which management tokens are there, newest first? The revoked ones, too.
SELECT id, name, token_hash, hint, scopes, created_at_ms, expires_at_ms, last_used_at_ms, revoked_at_ms,
       previous_hash, previous_until_ms
FROM management_tokens
WHERE TRUE
  AND (created_at_ms, id) < (:after_at_ms, :after_id)  -- if after_at_ms
ORDER BY created_at_ms DESC, id DESC
LIMIT :limit

-- name: create
-- Adds a management token.
INSERT INTO management_tokens (id, name, token_hash, hint, scopes, created_at_ms, expires_at_ms, last_used_at_ms,
                               revoked_at_ms, previous_hash, previous_until_ms)
VALUES (:id, :name, :token_hash, :hint, :scopes, :created_at_ms, :expires_at_ms, :last_used_at_ms,
        :revoked_at_ms, :previous_hash, :previous_until_ms)

-- name: update
-- Changes a secret, or ends it; name and scopes stay what they were when it was made.
UPDATE management_tokens
SET token_hash = :token_hash,
    hint = :hint,
    revoked_at_ms = :revoked_at_ms,
    previous_hash = :previous_hash,
    previous_until_ms = :previous_until_ms
WHERE id = :id

-- name: touch
-- Notes that it was used, unless that was noted after `before_ms`.
UPDATE management_tokens
SET last_used_at_ms = :now_ms
WHERE id = :id
  AND (last_used_at_ms IS NULL OR last_used_at_ms < :before_ms)
