-- Gives entries back as if they had not been handed out this time: to be claimed at once, the delivery counter one less.
-- KEYS: stream.  ARGV: group, consumer, idle_ms, ids
for i = 4, #ARGV do
  local owner = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if owner[1] and owner[1][2] == ARGV[2] then
    local count = math.max(0, owner[1][4] - 1)
    redis.call('XCLAIM', KEYS[1], ARGV[1], 'waiting', 0, ARGV[i], 'IDLE', ARGV[3], 'RETRYCOUNT', count, 'JUSTID')
  end
end
return true
