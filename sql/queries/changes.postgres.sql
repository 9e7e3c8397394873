-- name: lock
-- An identity is drawn before the commit: without the lock a reader could see 6, then miss 5. The audit chain takes the
-- same lock, so that two acts never wait for each other crosswise.
SELECT pg_advisory_xact_lock(7201001) AS held
