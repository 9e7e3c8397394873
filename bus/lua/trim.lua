-- Deletes what every group has acknowledged: below the lowest of (oldest pending, last delivered) over all groups.
-- Refuses while an expected group is missing: what it has not seen must not go.
-- KEYS: stream.  ARGV: limit, expected groups.  Returns how many entries went.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local function parts(id) return string.match(id, '^(%d+)-(%d+)$') end
local function less_text(a, b) if #a ~= #b then return #a < #b end return a < b end
local function less(x, y)
  local xa, xb = parts(x)
  local ya, yb = parts(y)
  if xa ~= ya then return less_text(xa, ya) end
  return less_text(xb, yb)
end
local seen, low = {}, nil
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = {}
  for j = 1, #g, 2 do of[g[j]] = g[j + 1] end
  seen[of['name']] = true
  local mark = of['last-delivered-id']
  if of['pending'] > 0 then mark = redis.call('XPENDING', KEYS[1], of['name'])[2] end
  if not low or less(mark, low) then low = mark end
end
for i = 2, #ARGV do
  if not seen[ARGV[i]] then return redis.error_reply('NOGROUP expected ' .. ARGV[i]) end
end
if not low then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', low, 'LIMIT', ARGV[1])
