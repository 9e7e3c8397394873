-- Reservations that are still at work. The twin of counters.Counters.extend.
-- KEYS: a hash and a sorted set of holds for each. ARGV: now in ms (0: this server's), hold in ms, and the reservations.
local now, hold = tonumber(ARGV[1]), tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for i = 1, #KEYS / 2 do
  local hash, holds = KEYS[2 * i - 1], KEYS[2 * i]
  redis.call('ZADD', holds, 'XX', now + hold, ARGV[2 + i])
  for _, key in ipairs({hash, holds}) do
    local left = redis.call('PTTL', key)
    if left >= 0 and left < 2 * hold then redis.call('PEXPIRE', key, 2 * hold) end
  end
end
return 1
