-- Gives letters back to their own group: into a stream that has no other group. In one step, so that a letter is
-- either dead or waits, whoever dies.
-- KEYS: dead letters, replays of this group, counters.  ARGV: group, ids.  Returns how many letters there were.
local done = 0
for i = 2, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    local f = {}
    for j = 1, #entry[2], 2 do f[entry[2][j]] = entry[2][j + 1] end
    if done == 0 and redis.call('EXISTS', KEYS[2]) == 0 then
      redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[1], '0', 'MKSTREAM')
    end
    local field = f['p'] and 'p' or f['z'] and 'z' or 'r'
    redis.call('XADD', KEYS[2], '*', 'i', f['i'], field, f[field], 'n', f['n'] or #f['p'],
      'first', f['first'] or string.match(f['id'] or ARGV[i], '^(%d+)'))
    redis.call('XDEL', KEYS[1], ARGV[i])
    done = done + 1
  end
end
if done > 0 then
  redis.call('HINCRBY', KEYS[3], 'dead:' .. ARGV[1], -done)
  redis.call('HINCRBY', KEYS[3], 'again:' .. ARGV[1], done)
end
return done
