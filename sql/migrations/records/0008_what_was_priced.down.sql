ALTER TABLE requests DROP COLUMN service_tier;
ALTER TABLE requests DROP COLUMN price_source;
ALTER TABLE requests DROP COLUMN usage_source;
ALTER TABLE requests DROP COLUMN cache_write_1h_tokens;
