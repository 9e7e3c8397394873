-- Who may call, with what, and who changed it.
-- COLLATE "C" makes PostgreSQL order text by its bytes, as SQLite does.

CREATE TABLE projects (
  id TEXT PRIMARY KEY,  -- only sqlite
  id TEXT COLLATE "C" PRIMARY KEY,  -- only postgres
  name TEXT NOT NULL UNIQUE,  -- only sqlite
  name TEXT COLLATE "C" NOT NULL UNIQUE,  -- only postgres
  is_active BOOLEAN NOT NULL,
  recording TEXT NOT NULL CHECK (recording IN ('full', 'metadata', 'off')),
  created_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  deactivated_at_ms BIGINT
);

CREATE INDEX projects_is_active_idx ON projects (is_active, name, id);

-- Several keys per provider are allowed; `key` is sealed (enc:v1:...) when there is an ENCRYPTION_KEY.
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,  -- only sqlite
  project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (id) ON DELETE CASCADE,  -- only postgres
  provider TEXT NOT NULL,
  key TEXT NOT NULL,
  weight BIGINT NOT NULL CHECK (weight >= 0),
  created_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL
);

CREATE INDEX api_keys_project_idx ON api_keys (project_id, provider, created_at_ms, id);

CREATE TABLE tokens (
  id TEXT PRIMARY KEY,  -- only sqlite
  id TEXT COLLATE "C" PRIMARY KEY,  -- only postgres
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,  -- only sqlite
  project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (id) ON DELETE CASCADE,  -- only postgres
  token_hash TEXT NOT NULL UNIQUE,
  hint TEXT NOT NULL,
  is_active BOOLEAN NOT NULL,
  expires_at_ms BIGINT,
  max_requests BIGINT CHECK (max_requests >= 0),
  request_count BIGINT NOT NULL,
  cache_hit_count BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  last_used_at_ms BIGINT,
  deactivated_at_ms BIGINT
);

CREATE INDEX tokens_created_idx ON tokens (created_at_ms, id);
CREATE INDEX tokens_project_idx ON tokens (project_id, created_at_ms, id);

-- What processes must forget. Ids grow in the order of commit (see queries/changes.postgres.sql) and never come back.
CREATE TABLE changes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- only sqlite
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- only postgres
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  at_ms BIGINT NOT NULL
);

CREATE INDEX changes_at_idx ON changes (at_ms);

-- One column in "C" is enough to give it to what the search puts together from all of them.
CREATE TABLE audit_events (
  id TEXT PRIMARY KEY,
  seq BIGINT NOT NULL UNIQUE,
  at_ms BIGINT NOT NULL,
  action TEXT NOT NULL,  -- only sqlite
  action TEXT COLLATE "C" NOT NULL,  -- only postgres
  actor TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('success', 'failure', 'denied', 'error')),
  object_kind TEXT NOT NULL,
  object_id TEXT NOT NULL,
  project_id TEXT,
  token_id TEXT,
  request_id TEXT,
  client_ip TEXT,
  method TEXT,
  path TEXT,
  user_agent TEXT,
  reason TEXT,
  before TEXT,
  after TEXT,
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL
);

CREATE INDEX audit_events_at_idx ON audit_events (at_ms);
CREATE INDEX audit_events_action_idx ON audit_events (action, seq);
CREATE INDEX audit_events_actor_idx ON audit_events (actor, seq);
CREATE INDEX audit_events_project_idx ON audit_events (project_id, seq);
CREATE INDEX audit_events_object_idx ON audit_events (object_id, seq);
CREATE INDEX audit_events_request_idx ON audit_events (request_id, seq);
CREATE INDEX audit_events_client_ip_idx ON audit_events (client_ip, seq);

-- The newest link of the chain: without it, rows cut off at the end would leave no gap.
CREATE TABLE audit_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  seq BIGINT NOT NULL,
  hash TEXT NOT NULL
);

CREATE TABLE sessions (
  id_hash TEXT PRIMARY KEY,
  actor TEXT NOT NULL,
  csrf TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  last_seen_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  user_agent TEXT NOT NULL,
  client_ip TEXT NOT NULL
);

CREATE INDEX sessions_expires_idx ON sessions (expires_at_ms);
