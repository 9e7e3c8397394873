-- What may be asked of the gateway: the document 'limits' is the only row. Its version grows by one with each change.
CREATE TABLE policies (
  id TEXT PRIMARY KEY,  -- only sqlite
  id TEXT COLLATE "C" PRIMARY KEY,  -- only postgres
  version BIGINT NOT NULL,
  document TEXT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  updated_by TEXT NOT NULL
);
