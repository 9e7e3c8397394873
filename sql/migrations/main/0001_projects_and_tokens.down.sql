DROP TABLE sessions;
DROP TABLE audit_head;
DROP TABLE audit_events;
DROP TABLE changes;
DROP TABLE tokens;
DROP TABLE api_keys;
DROP TABLE projects;
