-- name: insert
-- PostgreSQL reads a JSON array into rows of the table's own type.
INSERT INTO requests (event_id, request_id, accepted_at_ms, trace_id, method, path, status, code, client_ip, user_agent,
                      project_id, token_id, organisation, session_id, conversation_id, end_user, provider, dialect,
                      model, response_model, response_id, input_tokens, cache_read_tokens, cache_write_tokens,
                      output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_microusd,
                      upstream_head_us, first_byte_us, last_byte_us, overhead_us, request_bytes, response_bytes,
                      streamed, cut, cached, attempts, cache_write_1h_tokens, usage_source, price_source,
                      service_tier)
SELECT event_id, request_id, accepted_at_ms, trace_id, method, path, status, code, client_ip, user_agent,
       project_id, token_id, organisation, session_id, conversation_id, end_user, provider, dialect,
       model, response_model, response_id, input_tokens, cache_read_tokens, cache_write_tokens,
       output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_microusd,
       upstream_head_us, first_byte_us, last_byte_us, overhead_us, request_bytes, response_bytes,
       streamed, cut, cached, attempts, cache_write_1h_tokens, usage_source, price_source, service_tier
FROM json_populate_recordset(CAST(NULL AS requests), CAST(:rows AS JSON))
ORDER BY event_id
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id
