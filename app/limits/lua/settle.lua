-- Charges what a reservation really used. The twin of counters.Counters.settle.
-- KEYS: a hash and a sorted set of holds for each count. ARGV: reservation, 1 if this may have been sent before, and the
-- amount for each count.
local PARTS = 60
local rid, is_again = ARGV[1], ARGV[2] == '1'
local function whole(number) return string.format('%.0f', number) end

for i = 1, #KEYS / 2 do
  local hash, holds, actual = KEYS[2 * i - 1], KEYS[2 * i], tonumber(ARGV[2 + i])
  local state = redis.call('HMGET', hash, 's', 'u', 'h' .. rid)
  if state[1] then
    local top = tonumber(state[2]) -- 0: nothing leaves this count by itself
    local bucket, change = top, 0
    if state[3] then
      local amount, held_in = string.match(state[3], '(%d+) (%d+)')
      change = actual - tonumber(amount)
      if top == 0 or tonumber(held_in) >= top - PARTS then
        bucket = tonumber(held_in)
      else
        change = math.max(0, change) -- the window has left its beginning behind: what came on top counts now
      end
      redis.call('HDEL', hash, 'h' .. rid)
      redis.call('ZREM', holds, rid)
    elseif not is_again then
      change = actual -- it was given back meanwhile, but it has been used
    end
    if change ~= 0 then
      redis.call('HINCRBY', hash, 's', whole(change))
      if top > 0 then redis.call('HINCRBY', hash, 'b' .. whole(bucket), whole(change)) end
    end
    if top == 0 and tonumber(state[1]) + change == 0 and redis.call('ZCARD', holds) == 0 then
      redis.call('DEL', hash) -- clients choose names: what holds nothing takes no room
    end
  end
end
return 1
