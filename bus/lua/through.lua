-- The highest seq of a spool such that every group has acknowledged it and all before it.
-- KEYS: stream, producers, spans of this spool.  ARGV: spool
local known = redis.call('HGET', KEYS[2], ARGV[1])
if not known or redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local high = tonumber(string.match(known, ':(-?%d+)$'))
local function parts(id) return string.match(id, '^(%d+)-(%d+)$') end
local function less_text(a, b) if #a ~= #b then return #a < #b end return a < b end
local function less(x, y)
  local xa, xb = parts(x)
  local ya, yb = parts(y)
  if xa ~= ya then return less_text(xa, ya) end
  return less_text(xb, yb)
end
local pending, delivered, groups = nil, nil, 0
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = {}
  for j = 1, #g, 2 do of[g[j]] = g[j + 1] end
  groups = groups + 1
  if not delivered or less(of['last-delivered-id'], delivered) then delivered = of['last-delivered-id'] end
  if of['pending'] > 0 then
    local oldest = redis.call('XPENDING', KEYS[1], of['name'])[2]
    if not pending or less(oldest, pending) then pending = oldest end
  end
end
if groups == 0 then return -1 end
local function is_through(id)
  return not less(delivered, id) and (not pending or less(id, pending))
end
local through_key = ARGV[1] .. ':through'
while true do
  local span = redis.call('LINDEX', KEYS[3], 0)
  if not span then return high end
  local seq, id = string.match(span, '^(%d+):(.+)$')
  if not is_through(id) then break end
  redis.call('LPOP', KEYS[3])
  redis.call('HSET', KEYS[2], through_key, seq)
end
return tonumber(redis.call('HGET', KEYS[2], through_key) or -1)
