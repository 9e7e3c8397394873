-- Acknowledges, and counts what was still pending as delivered. A replayed entry has only this group: it goes.
-- XACK comes first: at maxmemory a script that has written may go on writing.
-- KEYS: stream, counters.  ARGV: group, lane ('' or 'again'), ids
local done = 0
for i = 3, #ARGV do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    done = done + 1
    if ARGV[2] == 'again' then redis.call('XDEL', KEYS[1], ARGV[i]) end
  end
end
if done > 0 then
  redis.call('HINCRBY', KEYS[2], 'delivered:' .. ARGV[1], done)
  if ARGV[2] == 'again' then redis.call('HINCRBY', KEYS[2], 'again:' .. ARGV[1], -done) end
end
return done
