-- Moves an entry to its group's dead letters, if this consumer still owns it. Append first, acknowledge second.
-- KEYS: stream, counters, dead letters.  ARGV: group, consumer, id, reason, detail, now_ms, lane ('' or 'again'),
-- and of a claim, when the answer to the first try has told which: the field and the value that the letter is to have.
-- Returns 1; 0: it is not this consumer's; the claim, when the payload lies elsewhere: then nothing is done.
local owner = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not owner[1] or owner[1][2] ~= ARGV[2] then
  return 0
end
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if entry then
  local fields = {}
  for j = 1, #entry[2], 2 do fields[entry[2][j]] = entry[2][j + 1] end
  if fields['r'] and not ARGV[8] then return fields['r'] end
  local field = ARGV[8] or fields['z'] and 'z' or 'p'
  local first = fields['first'] or string.match(ARGV[3], '^(%d+)')
  redis.call('XADD', KEYS[3], '*', 'i', fields['i'], field, ARGV[9] or fields[field], 'reason', ARGV[4],
    'detail', ARGV[5], 'deliveries', owner[1][4], 'at', ARGV[6], 'first', first, 'n', fields['n'] or #fields['p'])
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('HINCRBY', KEYS[2], 'dead:' .. ARGV[1], 1)
if ARGV[7] == 'again' then
  redis.call('XDEL', KEYS[1], ARGV[3])
  redis.call('HINCRBY', KEYS[2], 'again:' .. ARGV[1], -1)
end
return 1
