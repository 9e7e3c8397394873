-- All of a call's amounts from all its counts, or none of them. The twin of counters.Counters.reserve.
-- KEYS: a hash and a sorted set of holds for each count.
-- ARGV: now in ms (0: this server's), reservation, hold in ms, and for each count: most, taken, window in ms, 1 if
-- enforced, how long it is kept in ms (0: for ever), seed.
-- Hash: s the sum, u the bucket being filled, b<number> a bucket's, h<reservation> amount and bucket of a hold.
local PARTS, SWEPT, ASKS_FOR_SEED = 60, 128, -2
local now, rid, hold = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function whole(number) return string.format('%.0f', number) end

local asks, wants_seed = {}, false
for i = 1, #KEYS / 2 do
  local at = 4 + (i - 1) * 6
  local ask = {
    hash = KEYS[2 * i - 1], holds = KEYS[2 * i],
    most = tonumber(ARGV[at]), taken = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]),
    enforced = ARGV[at + 3] == '1', keep = tonumber(ARGV[at + 4]), seed = tonumber(ARGV[at + 5]),
  }
  local state = redis.call('HMGET', ask.hash, 's', 'u')
  ask.is_missing = not state[1]
  ask.sum = tonumber(state[1] or math.max(0, ask.seed))
  ask.top = tonumber(state[2] or 0)
  ask.wants_seed = ask.is_missing and ask.seed == ASKS_FOR_SEED
  wants_seed = wants_seed or ask.wants_seed
  asks[i] = ask
end
if wants_seed then
  local answer = {2}
  for i, ask in ipairs(asks) do answer[i + 1] = {ask.most, -1, ask.wants_seed and 1 or 0} end
  return answer
end

local function names(from, to)
  local list = {}
  for number = from, to do list[#list + 1] = 'b' .. whole(number) end
  return list
end

local function is_counted(ask, bucket) return ask.window == 0 or bucket >= ask.top - PARTS end

local function add(ask, bucket, amount)
  ask.sum = ask.sum + amount
  if ask.window > 0 then redis.call('HINCRBY', ask.hash, 'b' .. whole(bucket), whole(amount)) end
end

local function roll(ask)
  if ask.window > 0 then
    ask.width = math.ceil(ask.window / PARTS)
    local before = ask.top
    ask.top = math.max(before, math.floor(now / ask.width))
    local last = math.min(before, ask.top - PARTS - 1)
    if not ask.is_missing and last >= before - PARTS then
      local left = names(before - PARTS, last)
      for _, amount in ipairs(redis.call('HMGET', ask.hash, unpack(left))) do ask.sum = ask.sum - (amount or 0) end
      redis.call('HDEL', ask.hash, unpack(left))
    end
  end
  if ask.is_missing then return end
  for _, late in ipairs(redis.call('ZRANGEBYSCORE', ask.holds, '-inf', now, 'LIMIT', 0, SWEPT)) do
    local held = redis.call('HGET', ask.hash, 'h' .. late)
    if held then
      local amount, bucket = string.match(held, '(%d+) (%d+)')
      if is_counted(ask, tonumber(bucket)) then add(ask, tonumber(bucket), -tonumber(amount)) end
      redis.call('HDEL', ask.hash, 'h' .. late)
    end
    redis.call('ZREM', ask.holds, late)
  end
end

local function heals_in(ask)
  if ask.window == 0 then return -1 end
  local missing = ask.sum + ask.taken - ask.most
  for i, amount in ipairs(redis.call('HMGET', ask.hash, unpack(names(ask.top - PARTS, ask.top)))) do
    missing = missing - (amount or 0)
    if amount and missing <= 0 then return math.max(0, (ask.top + i) * ask.width - now) end
  end
  return (PARTS + 1) * ask.width
end

local refused = false
for _, ask in ipairs(asks) do
  roll(ask)
  ask.over = ask.sum + ask.taken > ask.most
  refused = refused or (ask.over and ask.enforced)
end
local answer = {refused and 1 or 0}
for i, ask in ipairs(asks) do
  local resets = ask.window > 0 and (PARTS + 1) * ask.width or -1
  if not refused then
    add(ask, ask.top, ask.taken)
    redis.call('HSET', ask.hash, 'h' .. rid, whole(ask.taken) .. ' ' .. whole(ask.top))
    redis.call('ZADD', ask.holds, now + hold, rid)
  end
  if not refused or not ask.is_missing then
    redis.call('HSET', ask.hash, 's', whole(ask.sum), 'u', whole(ask.top))
  end
  if ask.over then resets = heals_in(ask) end
  if not refused and ask.keep > 0 then
    local keep = math.max(ask.keep, 2 * hold)
    redis.call('PEXPIRE', ask.hash, keep)
    redis.call('PEXPIRE', ask.holds, keep)
  end
  answer[i + 1] = {math.max(0, ask.most - ask.sum), resets, ask.over and 1 or 0}
end
return answer
