-- Removes a group with all that it has and waits for. Refuses while a consumer of it was heard of lately.
-- KEYS: stream, counters, dead letters, replays of this group.  ARGV: group, quiet_ms
-- Returns 1; 0: there is no such group; -1: it is at work.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local is_there = false
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for j = 1, #g, 2 do
    if g[j] == 'name' and g[j + 1] == ARGV[1] then is_there = true end
  end
end
if not is_there then return 0 end
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  for j = 1, #c, 2 do
    if c[j] == 'idle' and c[j + 1] < tonumber(ARGV[2]) then return -1 end
  end
end
redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[3], KEYS[4])
for _, name in ipairs({'delivered:', 'dead:', 'purged:', 'earlier:', 'again:', 'parked:', 'lost:'}) do
  redis.call('HDEL', KEYS[2], name .. ARGV[1])
end
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(field, 1, #ARGV[1] + 5) == 'lot:' .. ARGV[1] .. ':' then redis.call('HDEL', KEYS[2], field) end
end
return 1
