-- Acknowledges, and counts what was still pending as delivered. A replayed entry has only this group: it goes.
-- XACK comes first: at maxmemory a script that has written may go on writing.
-- Another server may have come behind the name without a connection that failed; there an id may be another event's.
-- KEYS: stream, counters.  ARGV: group, lane ('', 'again', or 'lot' for what was parked), how this history's replication id begins, ids
-- Returns how many were pending; -1: this is another history, nothing is acknowledged.
if not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. ARGV[3], 1, true) then return -1 end
local done = 0
for i = 4, #ARGV do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    done = done + 1
    if ARGV[2] == 'again' then redis.call('XDEL', KEYS[1], ARGV[i]) end
  end
end
if done > 0 then
  redis.call('HINCRBY', KEYS[2], (ARGV[2] == 'lot' and 'earlier:' or 'delivered:') .. ARGV[1], done)
  if ARGV[2] == 'again' then redis.call('HINCRBY', KEYS[2], 'again:' .. ARGV[1], -done) end
end
return done
