-- KEYS: stream, counters.
-- Returns {entries, appended, now_ms, {group, pending, lag, oldest_ms, dead, delivered, purged, earlier, parked, lost}, ...}
local function ordinal_of(entry)
  for j = 1, #entry[2], 2 do
    if entry[2][j] == 'o' then return tonumber(entry[2][j + 1]) end
  end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function count(name) return tonumber(redis.call('HGET', KEYS[2], name) or 0) end
local out = {redis.call('XLEN', KEYS[1]), count('appended'), now}
if redis.call('EXISTS', KEYS[1]) == 0 then return out end
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = {}
  for j = 1, #g, 2 do of[g[j]] = g[j + 1] end
  local name, lag, oldest = of['name'], 0, nil
  local next_entry = redis.call('XRANGE', KEYS[1], '(' .. of['last-delivered-id'], '+', 'COUNT', 1)[1]
  if next_entry then
    lag = count('appended') - ordinal_of(next_entry) + 1
    oldest = next_entry[1]
  end
  if of['pending'] > 0 then oldest = redis.call('XPENDING', KEYS[1], name)[2] end
  local age = 0
  if oldest then age = math.max(0, now - tonumber(string.match(oldest, '^(%d+)'))) end
  out[#out + 1] = {name, of['pending'] + count('again:' .. name), lag, age, count('dead:' .. name),
    count('delivered:' .. name), count('purged:' .. name), count('earlier:' .. name),
    count('parked:' .. name), count('lost:' .. name)}
end
return out
