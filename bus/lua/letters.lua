-- A page of dead letters, newest first, without what the events hold. Looks at no more than `scan` of them.
-- KEYS: dead letters.  ARGV: before ('' for the newest), reason ('' for any), limit, scan
-- Returns {next, {id, event_id, reason, detail, deliveries, first_ms, at_ms, size}, ...}; next is '' at the end.
local from = '+'
if ARGV[1] ~= '' then from = '(' .. ARGV[1] end
local limit, scan, seen, last = tonumber(ARGV[3]), tonumber(ARGV[4]), 0, ''
local out = {''}
while #out <= limit and seen < scan do
  local some = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', math.min(100, limit, scan - seen))
  if #some == 0 then return out end
  for _, entry in ipairs(some) do
    local f = {}
    for j = 1, #entry[2], 2 do f[entry[2][j]] = entry[2][j + 1] end
    if #out <= limit then
      seen, last = seen + 1, entry[1]
      if ARGV[2] == '' or f['reason'] == ARGV[2] then
        out[#out + 1] = {entry[1], f['i'], f['reason'], f['detail'], f['deliveries'],
          f['first'] or string.match(f['id'] or entry[1], '^(%d+)'), f['at'], tonumber(f['n'] or #f['p'])}
      end
    end
  end
  from = '(' .. last
end
out[1] = last
return out
