DROP TRIGGER changes_are_told ON changes;  -- only postgres
DROP FUNCTION llm_proxy_tell_of_changes();  -- only postgres
DROP INDEX api_keys_retires_idx;
ALTER TABLE api_keys DROP COLUMN retires_at_ms;
ALTER TABLE api_keys DROP COLUMN replaced_by;
DROP INDEX tokens_previous_idx;
ALTER TABLE tokens DROP COLUMN previous_until_ms;
ALTER TABLE tokens DROP COLUMN previous_hash;
DROP TABLE management_tokens;
