-- Gives entries back, to be claimed when their idle time has reached min_idle again. The delivery counter holds
-- retries * 1000 + hand-outs since the last word: a retry rounds it up.
-- KEYS: stream.  ARGV: group, consumer, idle_ms, ids
for i = 4, #ARGV do
  local owner = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if owner[1] and owner[1][2] == ARGV[2] then
    local count = (math.floor(owner[1][4] / 1000) + 1) * 1000
    redis.call('XCLAIM', KEYS[1], ARGV[1], 'waiting', 0, ARGV[i], 'IDLE', ARGV[3], 'RETRYCOUNT', count, 'JUSTID')
  end
end
return true
