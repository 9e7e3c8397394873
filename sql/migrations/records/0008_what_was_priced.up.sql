-- Who counted the usage, who set the price, and at which of the provider's price lists.

ALTER TABLE requests ADD COLUMN cache_write_1h_tokens BIGINT;
ALTER TABLE requests ADD COLUMN usage_source TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN price_source TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN service_tier TEXT NOT NULL DEFAULT '';
