-- Deletes letters and counts them, so that the ledger still closes.
-- KEYS: dead letters, counters.  ARGV: group, ids.  Returns how many letters there were.
local done = 0
for i = 2, #ARGV do
  done = done + redis.call('XDEL', KEYS[1], ARGV[i])
end
if done > 0 then
  redis.call('HINCRBY', KEYS[2], 'dead:' .. ARGV[1], -done)
  redis.call('HINCRBY', KEYS[2], 'purged:' .. ARGV[1], done)
end
return done
