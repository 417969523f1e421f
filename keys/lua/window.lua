-- Windows, leases and abandoned exchanges: what every script of the limiter begins with.
--
-- All keys of a shard begin with its hash tag, so one script touches one slot:
--   {s07}:leases            sorted set: exchange id by the instant its lease ends
--   {s07}:tombs             sorted set: exchange id that is no longer in flight, by the instant
--                           it is forgotten
--   {s07}:idle              sorted set: window by the instant it may be dropped
--   {s07}:events            stream of ledger events
--   {s07}:settled           sorted set: exchange id that was settled, by the milliseconds of its
--                           event's id; the drain drops it some time after it wrote the event
--   {s07}:x:<exchange id>   hash: k scopes, h holds, o opening, i j estimates, c n t progress;
--                           s alone: settled although it had been forgotten
--   {s07}:c:<scope>         hash: f in flight, one field per window with its shape
--   {s07}:w:<window>        hash: u used, h held, and lo hi b<index> | start; r: nothing that was
--                           charged up to then is taken back, it may lie elsewhere by now
--
-- When the clock is set back, what lies ahead of it counts as used now, and an anchored window that
-- begins ahead of it begins now: so a count is never too low, and no window lasts for longer than
-- its length again.
--
-- keys/core/limits.py says what the numbers mean; it is the same arithmetic.

local KEEP_IDLE_MS = 86400000  -- a day: a key that sleeps overnight needs no cold start from Postgres
local KEEP_TOMB_MS = 21600000  -- six hours: longer than any settlement waits for its retry
local KEEP_SETTLED_MS = 60000  -- longer than any renewal is on its way

local tag = string.match(KEYS[1], '^{[^}]*}') .. ':'

-- While a slot of a cluster is moved key by key, what is elsewhere looks as if it had never been. To
-- ask for two names that are never written fails then, on both nodes, and at no other time: nothing
-- is done, and the caller comes again.
local moving = redis.pcall('EXISTS', tag .. '-', tag .. '--')
if type(moving) == 'table' and moving.err then
  return redis.error_reply('TRYAGAIN the slot is being moved: ' .. moving.err)
end

-- Not cjson, not tostring: both round beyond fourteen digits.
local function whole(number)
  return string.format('%.0f', number)
end

local function clock(given_ms)
  if given_ms ~= '0' then return tonumber(given_ms) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- What was charged up to then may lie elsewhere from now on.
local function move(key, until_ms)
  local before_ms = tonumber(redis.call('HGET', key, 'r') or '0')
  redis.call('HSET', key, 'r', whole(math.max(before_ms, until_ms)))
end

-- Forget the buckets that left, and fold the ones that lie ahead of a clock set back into now.
local function roll(window)
  local first = window.current - window.buckets
  if window.lo >= first and window.hi <= window.current then return end
  local fields = {}
  for index = window.lo, window.hi do fields[#fields + 1] = 'b' .. whole(index) end
  local amounts = redis.call('HMGET', window.key, unpack(fields))
  local gone, ahead, newest, oldest = {}, 0, nil, nil
  for position, amount in ipairs(amounts) do
    local index = window.lo + position - 1
    if amount then
      if index < first then
        window.used = window.used - tonumber(amount)
        gone[#gone + 1] = fields[position]
      elseif index > window.current then
        ahead, newest = ahead + tonumber(amount), index
        gone[#gone + 1] = fields[position]
      else
        oldest = oldest or index
      end
    end
  end
  if #gone > 0 then redis.call('HDEL', window.key, unpack(gone)) end
  if ahead > 0 then
    redis.call('HINCRBY', window.key, 'b' .. whole(window.current), whole(ahead))
    move(window.key, (newest + 1) * window.bucket_ms - 1)
    oldest = oldest or window.current
  end
  window.lo = oldest or window.current
  window.hi = window.current
  redis.call('HSET', window.key, 'u', whole(window.used), 'lo', whole(window.lo), 'hi', whole(window.hi))
end

-- shape: {name, unit, bucket_ms, buckets, anchored_ms}; returns nil for a window not loaded yet.
local function open(shape, now)
  local window = {key = tag .. 'w:' .. shape[1], name = shape[1], unit = shape[2],
    bucket_ms = shape[3], buckets = shape[4], anchored_ms = shape[5]}
  if window.anchored_ms > 0 then
    local stored = redis.call('HMGET', window.key, 'u', 'h', 'start')
    if not stored[1] then return nil end
    window.used, window.held, window.start =
      tonumber(stored[1]), tonumber(stored[2]), tonumber(stored[3])
    if window.start > 0 and now >= window.start + window.anchored_ms then
      window.used, window.start = 0, 0
    elseif window.start > now then
      move(window.key, window.start)
      redis.call('HSET', window.key, 'start', whole(now))
      window.start = now
    end
    return window
  end
  local stored = redis.call('HMGET', window.key, 'u', 'h', 'lo', 'hi')
  if not stored[1] then return nil end
  window.used, window.held, window.lo, window.hi =
    tonumber(stored[1]), tonumber(stored[2]), tonumber(stored[3]), tonumber(stored[4])
  window.current = math.floor(now / window.bucket_ms)
  roll(window)
  return window
end

-- When the oldest use leaves the window, -1 when nothing is used.
local function frees_at(window)
  if window.anchored_ms > 0 then
    return window.start > 0 and window.start + window.anchored_ms or -1
  end
  return window.used > 0 and (window.lo + window.buckets + 1) * window.bucket_ms or -1
end

-- Add to what is used now and to what is held; either may be zero, the second negative.
local function add(window, used, held, now)
  window.used, window.held = window.used + used, window.held + held
  if window.held < 0 then window.held = 0 end
  if window.anchored_ms > 0 then
    if window.start == 0 and (used > 0 or held > 0) then window.start = now end
    redis.call('HSET', window.key,
      'u', whole(window.used), 'h', whole(window.held), 'start', whole(window.start))
    if window.start == now then
      redis.call('ZADD', tag .. 'idle', whole(now + window.anchored_ms + KEEP_IDLE_MS), window.name)
    end
  elseif used > 0 then
    local field = 'b' .. whole(window.current)
    local amount = redis.call('HINCRBY', window.key, field, whole(used))
    if window.used == used then window.lo = window.current end
    redis.call('HSET', window.key, 'u', whole(window.used), 'h', whole(window.held),
      'lo', whole(window.lo), 'hi', whole(window.current))
    if amount == used then
      local empty_ms = (window.current + window.buckets + 1) * window.bucket_ms
      redis.call('ZADD', tag .. 'idle', whole(empty_ms + KEEP_IDLE_MS), window.name)
    end
  elseif held ~= 0 then
    redis.call('HSET', window.key, 'h', whole(window.held))
  end
end

-- Count a request that the store forgot as if it came now, unless it is older than the window.
local function count_again(window, opening, now)
  local admitted = tonumber(string.match(opening, '"admitted_at_ms":(%d+)')) or now
  if now - admitted < window.buckets * window.bucket_ms then add(window, 1, 0, now) end
end

-- Take back what was charged at an earlier instant, if it still counts.
local function take_back(window, amount, charged_ms)
  if charged_ms <= tonumber(redis.call('HGET', window.key, 'r') or '0') then return end
  if window.anchored_ms > 0 then
    if window.start > 0 and charged_ms >= window.start then
      window.used = math.max(0, window.used - amount)
      redis.call('HSET', window.key, 'u', whole(window.used))
    end
    return
  end
  local field = 'b' .. whole(math.floor(charged_ms / window.bucket_ms))
  local there = tonumber(redis.call('HGET', window.key, field) or '0')
  local taken = math.min(there, amount)
  if taken == 0 then return end
  if taken < there then
    redis.call('HINCRBY', window.key, field, whole(-taken))
  else
    redis.call('HDEL', window.key, field)
    while window.lo < window.hi
      and redis.call('HEXISTS', window.key, 'b' .. whole(window.lo)) == 0 do
      window.lo = window.lo + 1
    end
  end
  window.used = window.used - taken
  redis.call('HSET', window.key, 'u', whole(window.used), 'lo', whole(window.lo))
end

local function shapes_of(scope)
  local fields = redis.call('HGETALL', tag .. 'c:' .. scope)
  local shapes = {}
  for position = 1, #fields, 2 do
    if fields[position] ~= 'f' then shapes[#shapes + 1] = cjson.decode(fields[position + 1]) end
  end
  return shapes
end

-- Charge every window of the scopes and free what was held there. Returns the anchors, as text.
-- `before` is nil, or {tokens, nanousd, charged_ms} of an abandonment this charge replaces.
local function charge(scopes, holds, tokens, nanousd, now, before)
  local anchors = {}
  for scope in string.gmatch(scopes, '%S+') do
    for _, shape in ipairs(shapes_of(scope)) do
      local settled = shape[2] == 'tok' or shape[2] == 'usd'
      local window = settled and open(shape, now)
      if window then
        local by_tokens = window.unit == 'tok'
        if before then take_back(window, by_tokens and before[1] or before[2], before[3]) end
        local held = tonumber(holds[window.name] or '0')
        add(window, by_tokens and tokens or nanousd, -held, now)
        if window.anchored_ms > 0 and window.start > 0 then
          anchors[#anchors + 1] = window.name .. '=' .. whole(window.start)
        end
      end
    end
  end
  return table.concat(anchors, ',')
end

local function count_requests_again(scopes, opening, now)
  for scope in string.gmatch(scopes, '%S+') do
    for _, shape in ipairs(shapes_of(scope)) do
      local window = shape[2] == 'req' and open(shape, now)
      if window then count_again(window, opening, now) end
    end
  end
end

local function leave(scopes)
  for scope in string.gmatch(scopes, '%S+') do
    if redis.call('HINCRBY', tag .. 'c:' .. scope, 'f', -1) <= 0 then
      redis.call('HDEL', tag .. 'c:' .. scope, 'f')
    end
  end
end

local function record(exchange, now, opening, closing, scopes, anchors)
  return redis.call('XADD', tag .. 'events', '*', 'x', exchange, 't', whole(now),
    'o', opening, 'c', closing, 'k', scopes, 'w', anchors)
end

-- The holder died: charge the larger of the input estimate and the last progress, and record it.
local function abandon(exchange, now)
  local key = tag .. 'x:' .. exchange
  local x = redis.call('HMGET', key, 'k', 'h', 'o', 'i', 'j', 't', 'n', 'c')
  redis.call('ZREM', tag .. 'leases', exchange)
  if not x[1] then return end
  local tokens, nanousd, closing = tonumber(x[4]), tonumber(x[5]), ''
  if x[6] and tonumber(x[6]) >= tokens then
    tokens, nanousd, closing = tonumber(x[6]), tonumber(x[7]), x[8]
  end
  local anchors = charge(x[1], cjson.decode(x[2]), tokens, nanousd, now, nil)
  leave(x[1])
  record(exchange, now, x[3], closing, x[1], anchors)
  redis.call('HDEL', key, 'h', 'i', 'j', 't', 'n', 'c')
  redis.call('HSET', key, 'at', whole(now), 'ct', whole(tokens), 'cn', whole(nanousd))
  redis.call('ZADD', tag .. 'tombs', whole(now + KEEP_TOMB_MS), exchange)
end

local function abandon_expired(now, most)
  local expired = redis.call('ZRANGEBYSCORE', tag .. 'leases', '-inf', whole(now), 'LIMIT', 0, most)
  for _, exchange in ipairs(expired) do abandon(exchange, now) end
  return #expired
end
