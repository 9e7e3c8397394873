-- Makes the stream and all groups, at its beginning. A stream that is not there has lost what producers think is safe:
-- then the producers are forgotten too, so that every relay gets GAP and sends again what it still has.
-- KEYS: stream, producers, counters.  ARGV: group names
local was_there = redis.call('EXISTS', KEYS[1])
if was_there == 0 then
  redis.call('DEL', KEYS[2])
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
    redis.call('XGROUP', 'CREATE', KEYS[1], name, '0', 'MKSTREAM')
  end
end
return was_there
