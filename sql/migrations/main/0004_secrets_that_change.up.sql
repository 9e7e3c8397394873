-- Who else may manage, secrets that change with a grace period, and a signal after each change.

-- `scopes` are words between spaces; the secrets themselves are nowhere.
CREATE TABLE management_tokens (
  id TEXT PRIMARY KEY,  -- only sqlite
  id TEXT COLLATE "C" PRIMARY KEY,  -- only postgres
  name TEXT NOT NULL UNIQUE,
  token_hash TEXT NOT NULL UNIQUE,
  hint TEXT NOT NULL,
  scopes TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT,
  last_used_at_ms BIGINT,
  revoked_at_ms BIGINT,
  previous_hash TEXT,
  previous_until_ms BIGINT
);

CREATE INDEX management_tokens_created_idx ON management_tokens (created_at_ms, id);
CREATE UNIQUE INDEX management_tokens_previous_idx ON management_tokens (previous_hash);

-- The secret before the last rotation, and until when it is still taken.
ALTER TABLE tokens ADD COLUMN previous_hash TEXT;
ALTER TABLE tokens ADD COLUMN previous_until_ms BIGINT;
CREATE UNIQUE INDEX tokens_previous_idx ON tokens (previous_hash);

-- A key that another one has replaced: kept with weight 0 until it retires, so that the rotation can be undone.
ALTER TABLE api_keys ADD COLUMN replaced_by TEXT;
ALTER TABLE api_keys ADD COLUMN retires_at_ms BIGINT;
CREATE INDEX api_keys_retires_idx ON api_keys (retires_at_ms);

-- Whoever listens hears of a change when it is committed, whoever made it.
CREATE FUNCTION llm_proxy_tell_of_changes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY llm_proxy_changes; RETURN NULL; END $$;  -- only postgres
CREATE TRIGGER changes_are_told AFTER INSERT ON changes FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_tell_of_changes();  -- only postgres
