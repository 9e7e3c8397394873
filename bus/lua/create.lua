-- Makes the stream and all groups, at its beginning. A stream that is not there has lost what producers think is safe:
-- then the producers are forgotten too, so that every relay gets GAP and sends again what it still has.
-- A new group counts what it will not see; one that was lost takes its counts along, so that its ledger closes.
-- KEYS: stream, producers, counters.  ARGV: group names
local function count(name) return tonumber(redis.call('HGET', KEYS[3], name) or 0) end
local was_there = redis.call('EXISTS', KEYS[1])
if was_there == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('XGROUP', 'CREATE', KEYS[1], 'none', '0', 'MKSTREAM')  -- without groups, too, events wait for theirs
  redis.call('XGROUP', 'DESTROY', KEYS[1], 'none')
end
local have = {}
if was_there == 1 then
  local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
  for _, g in ipairs(groups) do
    for j = 1, #g, 2 do
      if g[j] == 'name' then have[g[j + 1]] = true end
    end
  end
end
for _, name in ipairs(ARGV) do
  if not have[name] then
    redis.call('XGROUP', 'CREATE', KEYS[1], name, '0')
    local gone = count('appended')
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    if first then
      for j = 1, #first[2], 2 do
        if first[2][j] == 'o' then gone = tonumber(first[2][j + 1]) - 1 end
      end
    end
    for _, kind in ipairs({'delivered:', 'dead:', 'purged:', 'again:', 'parked:', 'lost:'}) do gone = gone - count(kind .. name) end
    redis.call('HSET', KEYS[3], 'earlier:' .. name, gone)
  end
end
return was_there
