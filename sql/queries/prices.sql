-- name: list_page
-- Which prices count instead of those that are shipped?
SELECT id, provider, model, from_ms, until_ms, prices, updated_at_ms, updated_by
FROM price_overrides
ORDER BY provider, model, from_ms
LIMIT :limit

-- name: get
-- Which one is this?
SELECT id, provider, model, from_ms, until_ms, prices, updated_at_ms, updated_by
FROM price_overrides
WHERE id = :id

-- name: find
-- Is there one for these models from that time on?
SELECT id, provider, model, from_ms, until_ms, prices, updated_at_ms, updated_by
FROM price_overrides
WHERE provider = :provider
  AND model = :model
  AND from_ms = :from_ms

-- name: add
-- Adds one, or changes the one of this id.
INSERT INTO price_overrides (id, provider, model, from_ms, until_ms, prices, updated_at_ms, updated_by)
VALUES (:id, :provider, :model, :from_ms, :until_ms, :prices, :updated_at_ms, :updated_by)
ON CONFLICT (id) DO UPDATE
SET until_ms = excluded.until_ms,
    prices = excluded.prices,
    updated_at_ms = excluded.updated_at_ms,
    updated_by = excluded.updated_by

-- name: delete
-- Takes one away.
DELETE FROM price_overrides
WHERE id = :id
