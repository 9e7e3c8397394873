-- What counts instead of the price list that is shipped. from_ms 0: from ever on.
CREATE TABLE price_overrides (
  id TEXT PRIMARY KEY,  -- only sqlite
  id TEXT COLLATE "C" PRIMARY KEY,  -- only postgres
  provider TEXT NOT NULL,  -- only sqlite
  provider TEXT COLLATE "C" NOT NULL,  -- only postgres
  model TEXT NOT NULL,  -- only sqlite
  model TEXT COLLATE "C" NOT NULL,  -- only postgres
  from_ms BIGINT NOT NULL,
  until_ms BIGINT,
  prices TEXT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  updated_by TEXT NOT NULL,
  UNIQUE (provider, model, from_ms)
);
