-- How many workers are alive, this one among them: each gets that part of a limit when nobody can be asked.
-- KEYS: a sorted set of workers. ARGV: now in ms (0: this server's), this one's name, how long one counts in ms.
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], 2 * tonumber(ARGV[3]))
return redis.call('ZCARD', KEYS[1])
