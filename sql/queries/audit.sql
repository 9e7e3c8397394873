-- name: head
-- What is the newest link of the chain?
SELECT seq, hash
FROM audit_head
WHERE id = 1

-- name: move_head
-- Makes a row the newest link.
INSERT INTO audit_head (id, seq, hash)
VALUES (1, :seq, :hash)
ON CONFLICT (id) DO UPDATE
SET seq = excluded.seq,
    hash = excluded.hash

-- name: append
-- Adds a row at its place in the chain.
INSERT INTO audit_events (id, seq, at_ms, action, actor, outcome, object_kind, object_id, project_id, token_id,
                          request_id, client_ip, method, path, user_agent, reason, before, after, prev_hash, hash)
VALUES (:id, :seq, :at_ms, :action, :actor, :outcome, :object_kind, :object_id, :project_id, :token_id,
        :request_id, :client_ip, :method, :path, :user_agent, :reason, :before, :after, :prev_hash, :hash)

-- name: get
-- What was this event?
SELECT id, seq, at_ms, action, actor, outcome, object_kind, object_id, project_id, token_id,
       request_id, client_ip, method, path, user_agent, reason, before, after, prev_hash, hash
FROM audit_events
WHERE id = :id

-- name: list_page
-- Who did what, newest first? `pattern` is a LIKE pattern in lower case.
SELECT id, seq, at_ms, action, actor, outcome, object_kind, object_id, project_id, token_id,
       request_id, client_ip, method, path, user_agent, reason, before, after, prev_hash, hash
FROM audit_events
WHERE TRUE
  AND action = :action  -- if action
  AND actor = :actor  -- if actor
  AND outcome = :outcome  -- if outcome
  AND object_kind = :object_kind  -- if object_kind
  AND object_id = :object_id  -- if object_id
  AND project_id = :project_id  -- if project_id
  AND token_id = :token_id  -- if token_id
  AND request_id = :request_id  -- if request_id
  AND client_ip = :client_ip  -- if client_ip
  AND method = :method  -- if method
  AND path = :path  -- if path
  AND at_ms >= :since_ms  -- if since_ms
  AND at_ms < :until_ms  -- if until_ms
  AND LOWER(action || ' ' || actor || ' ' || object_id || ' ' || COALESCE(request_id, '') || ' ' ||  -- if pattern
            COALESCE(client_ip, '') || ' ' || COALESCE(method, '') || ' ' || COALESCE(path, '') || ' ' ||  -- if pattern
            COALESCE(reason, '') || ' ' || COALESCE(before, '') || ' ' || COALESCE(after, ''))  -- if pattern
      LIKE :pattern ESCAPE '\'  -- if pattern
  AND seq < :before_seq  -- if before_seq
ORDER BY seq DESC
LIMIT :limit
OFFSET :offset

-- name: count
-- How many events does the list have?
SELECT COUNT(*) AS n
FROM audit_events
WHERE TRUE
  AND action = :action  -- if action
  AND actor = :actor  -- if actor
  AND outcome = :outcome  -- if outcome
  AND object_kind = :object_kind  -- if object_kind
  AND object_id = :object_id  -- if object_id
  AND project_id = :project_id  -- if project_id
  AND token_id = :token_id  -- if token_id
  AND request_id = :request_id  -- if request_id
  AND client_ip = :client_ip  -- if client_ip
  AND method = :method  -- if method
  AND path = :path  -- if path
  AND at_ms >= :since_ms  -- if since_ms
  AND at_ms < :until_ms  -- if until_ms
  AND LOWER(action || ' ' || actor || ' ' || object_id || ' ' || COALESCE(request_id, '') || ' ' ||  -- if pattern
            COALESCE(client_ip, '') || ' ' || COALESCE(method, '') || ' ' || COALESCE(path, '') || ' ' ||  -- if pattern
            COALESCE(reason, '') || ' ' || COALESCE(before, '') || ' ' || COALESCE(after, ''))  -- if pattern
      LIKE :pattern ESCAPE '\'  -- if pattern

-- name: chain_page
-- What comes next in the chain, in its order?
SELECT id, seq, at_ms, action, actor, outcome, object_kind, object_id, project_id, token_id,
       request_id, client_ip, method, path, user_agent, reason, before, after, prev_hash, hash
FROM audit_events
WHERE seq > :after_seq
ORDER BY seq
LIMIT :limit
