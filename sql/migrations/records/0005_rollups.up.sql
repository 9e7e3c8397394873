-- Sums per minute, hour and day, by project, token, provider, model and end user.

CREATE TABLE rollups (
  period TEXT COLLATE "C" NOT NULL CHECK (period IN ('minute', 'hour', 'day')),  -- only postgres
  period TEXT NOT NULL CHECK (period IN ('minute', 'hour', 'day')),  -- only sqlite
  start_ms BIGINT NOT NULL,
  project_id TEXT COLLATE "C" NOT NULL,  -- only postgres
  project_id TEXT NOT NULL,  -- only sqlite
  token_id TEXT COLLATE "C" NOT NULL,  -- only postgres
  token_id TEXT NOT NULL,  -- only sqlite
  provider TEXT COLLATE "C" NOT NULL,  -- only postgres
  provider TEXT NOT NULL,  -- only sqlite
  model TEXT COLLATE "C" NOT NULL,  -- only postgres
  model TEXT NOT NULL,  -- only sqlite
  end_user TEXT COLLATE "C" NOT NULL,  -- only postgres
  end_user TEXT NOT NULL,  -- only sqlite
  requests BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  input_tokens BIGINT NOT NULL,
  cache_read_tokens BIGINT NOT NULL,
  cache_write_tokens BIGINT NOT NULL,
  cache_write_1h_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL,
  reasoning_tokens BIGINT NOT NULL,
  audio_input_tokens BIGINT NOT NULL,
  audio_output_tokens BIGINT NOT NULL,
  cost_microusd BIGINT,
  cost_unknown BIGINT NOT NULL,
  estimated BIGINT NOT NULL,
  PRIMARY KEY (project_id, period, start_ms, token_id, provider, model, end_user)
);

-- Each index is paid by every exchange with an end user of its own, so there are few: a token is looked for in its project.
CREATE INDEX rollups_start_idx ON rollups (period, start_ms);
CREATE INDEX rollups_end_user_idx ON rollups (end_user, period, start_ms) WHERE end_user <> '';

-- Which models and end users have sums of their own on a day: the first ones, until there are too many.
CREATE TABLE rollup_names (
  day_ms BIGINT NOT NULL,
  project_id TEXT COLLATE "C" NOT NULL,  -- only postgres
  project_id TEXT NOT NULL,  -- only sqlite
  kind TEXT COLLATE "C" NOT NULL,  -- only postgres
  kind TEXT NOT NULL,  -- only sqlite
  name TEXT COLLATE "C" NOT NULL,  -- only postgres
  name TEXT NOT NULL,  -- only sqlite
  PRIMARY KEY (day_ms, project_id, kind, name)
) WITHOUT ROWID;  -- only sqlite
);  -- only postgres

-- What was recorded before counts as well; hours are made of minutes and days of hours.
INSERT INTO rollups
SELECT 'minute', accepted_at_ms / 60000 * 60000, project_id, token_id, provider, SUBSTR(model, 1, 128),
       SUBSTR(end_user, 1, 128), COUNT(*),
       SUM(CASE WHEN status >= 400 OR status < 100 OR cut IN ('upstream', 'interrupted') THEN 1 ELSE 0 END),
       COALESCE(SUM(input_tokens), 0), COALESCE(SUM(cache_read_tokens), 0), COALESCE(SUM(cache_write_tokens), 0), 0,
       COALESCE(SUM(output_tokens), 0), COALESCE(SUM(reasoning_tokens), 0), COALESCE(SUM(audio_input_tokens), 0),
       COALESCE(SUM(audio_output_tokens), 0), SUM(cost_microusd),
       SUM(CASE WHEN cost_microusd IS NULL AND input_tokens IS NOT NULL THEN 1 ELSE 0 END), 0
FROM requests
GROUP BY 2, 3, 4, 5, 6, 7;

INSERT INTO rollups
SELECT 'hour', start_ms / 3600000 * 3600000, project_id, token_id, provider, model, end_user, SUM(requests),
       SUM(errors), SUM(input_tokens), SUM(cache_read_tokens), SUM(cache_write_tokens), SUM(cache_write_1h_tokens),
       SUM(output_tokens), SUM(reasoning_tokens), SUM(audio_input_tokens), SUM(audio_output_tokens),
       SUM(cost_microusd), SUM(cost_unknown), SUM(estimated)
FROM rollups
WHERE period = 'minute'
GROUP BY 2, 3, 4, 5, 6, 7;

INSERT INTO rollups
SELECT 'day', start_ms / 86400000 * 86400000, project_id, token_id, provider, model, end_user, SUM(requests),
       SUM(errors), SUM(input_tokens), SUM(cache_read_tokens), SUM(cache_write_tokens), SUM(cache_write_1h_tokens),
       SUM(output_tokens), SUM(reasoning_tokens), SUM(audio_input_tokens), SUM(audio_output_tokens),
       SUM(cost_microusd), SUM(cost_unknown), SUM(estimated)
FROM rollups
WHERE period = 'hour'
GROUP BY 2, 3, 4, 5, 6, 7;
