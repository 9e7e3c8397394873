-- Counts what a parking lot holds, and gives its events back to their group, fenced by the lot's marks: what the lot
-- says again changes nothing. A lot that is not known is one of a server that has lost it: nothing of it came back.
-- KEYS: counters, replays of this group.
-- ARGV: group, lot, holds, settled, next, room, n, n * (event_id, payload, parked_ms)
-- Returns {counted, returned, settled}. An empty payload is what damage took.
local group, lot = ARGV[1], ARGV[2]
local holds, settled, first = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local room, n = tonumber(ARGV[6]), tonumber(ARGV[7])
local mark = 'lot:' .. group .. ':' .. lot
local counted, returned = 0, 0
local known = redis.call('HGET', KEYS[1], mark)
if known then
  local c, r = string.match(known, '^(%d+):(%d+)$')
  counted, returned = tonumber(c), tonumber(r)
end
if n == 0 then redis.call('HDEL', KEYS[1], '') end  -- counting goes on at maxmemory: a script that has written may
local earlier = math.max(0, settled - returned) - math.max(0, holds - counted)
counted, returned = math.max(counted, holds), math.max(returned, settled)
local came, lost, waiting = 0, 0, redis.call('XLEN', KEYS[2])
if first <= returned then
  for i = returned - first, n - 1 do
    if waiting >= room then break end
    local at = 8 + 3 * i
    if ARGV[at + 1] == '' then
      lost = lost + 1
    else
      if waiting == 0 and redis.call('EXISTS', KEYS[2]) == 0 then
        redis.call('XGROUP', 'CREATE', KEYS[2], group, '0', 'MKSTREAM')
      end
      redis.call('XADD', KEYS[2], '*', 'i', ARGV[at], 'p', ARGV[at + 1], 'first', ARGV[at + 2],
        'lot', lot, 'number', string.format('%.0f', returned))
      waiting = waiting + 1
    end
    came, returned = came + 1, returned + 1
  end
end
if came + earlier ~= 0 then redis.call('HINCRBY', KEYS[1], 'parked:' .. group, -earlier - came) end
if earlier ~= 0 then redis.call('HINCRBY', KEYS[1], 'earlier:' .. group, earlier) end
if came > lost then redis.call('HINCRBY', KEYS[1], 'again:' .. group, came - lost) end
if lost > 0 then redis.call('HINCRBY', KEYS[1], 'lost:' .. group, lost) end
local now = string.format('%.0f:%.0f', counted, returned)
if now ~= known then redis.call('HSET', KEYS[1], mark, now) end
local scan = 1000
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', scan)) do
  local f = {}
  for j = 1, #entry[2], 2 do f[entry[2][j]] = entry[2][j + 1] end
  if f['lot'] == lot then return {counted, returned, tonumber(f['number'])} end
end
if redis.call('XLEN', KEYS[2]) > scan then return {counted, returned, settled} end  -- it may be further back
return {counted, returned, returned}
