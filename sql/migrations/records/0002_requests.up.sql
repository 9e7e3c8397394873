-- One row per exchange, its bodies apart, and sums per minute for the overview.

CREATE TABLE requests (
  event_id TEXT PRIMARY KEY,  -- only sqlite
  event_id TEXT COLLATE "C" PRIMARY KEY,  -- only postgres
  request_id TEXT NOT NULL,  -- only sqlite
  request_id TEXT COLLATE "C" NOT NULL,  -- only postgres
  accepted_at_ms BIGINT NOT NULL,
  trace_id TEXT NOT NULL,
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  status BIGINT NOT NULL,
  code TEXT NOT NULL,
  client_ip TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  project_id TEXT NOT NULL,
  token_id TEXT NOT NULL,
  organisation TEXT NOT NULL,
  session_id TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  end_user TEXT NOT NULL,
  provider TEXT NOT NULL,
  dialect TEXT NOT NULL,
  model TEXT NOT NULL,
  response_model TEXT NOT NULL,
  response_id TEXT NOT NULL,
  input_tokens BIGINT,
  cache_read_tokens BIGINT,
  cache_write_tokens BIGINT,
  output_tokens BIGINT,
  reasoning_tokens BIGINT,
  audio_input_tokens BIGINT,
  audio_output_tokens BIGINT,
  cost_microusd BIGINT,
  upstream_head_us BIGINT,
  first_byte_us BIGINT,
  last_byte_us BIGINT,
  overhead_us BIGINT,
  request_bytes BIGINT NOT NULL,
  response_bytes BIGINT NOT NULL,
  streamed BOOLEAN NOT NULL,
  cut TEXT NOT NULL,
  cached BOOLEAN NOT NULL,
  attempts BIGINT NOT NULL
);

CREATE INDEX requests_accepted_idx ON requests (accepted_at_ms, event_id);
CREATE INDEX requests_project_idx ON requests (project_id, accepted_at_ms, event_id);
CREATE INDEX requests_token_idx ON requests (token_id, accepted_at_ms, event_id);
CREATE INDEX requests_model_idx ON requests (model, accepted_at_ms, event_id);
CREATE INDEX requests_provider_idx ON requests (provider, accepted_at_ms, event_id);
CREATE INDEX requests_request_idx ON requests (request_id);
-- What one looks for when something is wrong is rare: most rows are not in here, so it costs little.
CREATE INDEX requests_code_idx ON requests (code, accepted_at_ms, event_id) WHERE code <> '';
CREATE INDEX requests_failed_idx ON requests (accepted_at_ms, event_id) WHERE status >= 400;

-- accepted_at_ms is that of the request: retention deletes by it without a join.
CREATE TABLE request_bodies (
  event_id TEXT NOT NULL,
  side TEXT NOT NULL CHECK (side IN ('request', 'response')),
  accepted_at_ms BIGINT NOT NULL,
  data BYTEA NOT NULL,
  content_type TEXT NOT NULL,
  content_encoding TEXT NOT NULL,
  truncated BOOLEAN NOT NULL,
  PRIMARY KEY (event_id, side)
);

CREATE INDEX request_bodies_accepted_idx ON request_bodies (accepted_at_ms);

-- Per project, and for all together under the project_id '*'.
CREATE TABLE request_minutes (
  project_id TEXT NOT NULL,
  minute_ms BIGINT NOT NULL,
  requests BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  prompt_tokens BIGINT NOT NULL,
  completion_tokens BIGINT NOT NULL,
  cost_microusd BIGINT,
  PRIMARY KEY (project_id, minute_ms)
);
