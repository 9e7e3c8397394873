-- name: create
-- Adds a session of a browser that has signed in.
INSERT INTO sessions (id_hash, actor, csrf, created_at_ms, last_seen_at_ms, expires_at_ms, user_agent, client_ip)
VALUES (:id_hash, :actor, :csrf, :created_at_ms, :last_seen_at_ms, :expires_at_ms, :user_agent, :client_ip)

-- name: get
-- Whose session is this? Whether it has expired is for the reader to say.
SELECT id_hash, actor, csrf, created_at_ms, last_seen_at_ms, expires_at_ms, user_agent, client_ip
FROM sessions
WHERE id_hash = :id_hash

-- name: touch
-- Notes that the browser was here.
UPDATE sessions
SET last_seen_at_ms = :now_ms
WHERE id_hash = :id_hash

-- name: delete
-- Ends a session.
DELETE FROM sessions
WHERE id_hash = :id_hash

-- name: delete_expired
-- Which sessions are over?
DELETE FROM sessions
WHERE expires_at_ms <= :now_ms
