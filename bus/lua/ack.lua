-- Acknowledges and counts. XACK comes first: at maxmemory a script that has written may go on writing.
-- KEYS: stream, counters.  ARGV: group, ids
local done = 0
for i = 2, #ARGV do
  done = done + redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
end
if done > 0 then
  redis.call('HINCRBY', KEYS[2], 'delivered:' .. ARGV[1], done)
end
return done
