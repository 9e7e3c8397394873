-- Appends a spool's entries, fenced: the spool's (epoch, high water) is stored in the same atomic write, so that a
-- resend is a no-op, a zombie is told FENCED, and a server that lost writes answers GAP.
-- KEYS: stream, producers, counters, spans of this spool.
-- ARGV: spool, epoch, first_seq, n, n * (event_id, payload), then of each payload that is not plain: place, field, size
-- Returns {status, epoch, high_water, added}. An empty payload is a hole: it moves the high water and is stored nowhere.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'NOSTREAM', 0, -1, 0}
end
local known = redis.call('HGET', KEYS[2], ARGV[1])
local epoch, high = 0, -1
if known then
  local e, h = string.match(known, '^(%d+):(-?%d+)$')
  epoch, high = tonumber(e), tonumber(h)
else
  redis.call('DEL', KEYS[4])  -- of a stream that is no more
end
local mine, first, n = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if mine < epoch then
  return {'FENCED', epoch, high, 0}
end
if first > high + 1 then
  return {'GAP', epoch, high, 0}
end
local packed = {}
for i = 5 + 2 * n, #ARGV, 3 do packed[tonumber(ARGV[i])] = {ARGV[i + 1], ARGV[i + 2]} end
local added, last = 0, nil
for i = 0, n - 1 do
  if first + i > high and ARGV[6 + 2 * i] ~= '' then
    local ordinal = redis.call('HINCRBY', KEYS[3], 'appended', 1)
    local id, payload, as = ARGV[5 + 2 * i], ARGV[6 + 2 * i], packed[i]
    if as then
      last = redis.call('XADD', KEYS[1], '*', 'i', id, as[1], payload, 'o', ordinal, 'n', as[2])
    else
      last = redis.call('XADD', KEYS[1], '*', 'i', id, 'p', payload, 'o', ordinal)
    end
    added = added + 1
  end
end
local before = high
if first + n - 1 > high then
  high = first + n - 1
end
if last then
  redis.call('RPUSH', KEYS[4], string.format('%.0f:', high) .. last)
end
if high > before or mine > epoch or not known then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f:%.0f', mine, high))
end
return {'OK', mine, high, added}
