-- Decide over every limit of every scope at once; take everything or move no counter.
--
-- KEYS 1 {sNN}:leases
-- ARGV 1 now_ms, 0 for Valkey's own clock   2 mode: admit | force | tick | peek
--      3 policy: {"limits": [[name, unit, bucket_ms, buckets, anchored_ms, limit, strict, scope]],
--                 "scopes": [[scope, concurrency or -1]]}
--      4 exchange id   5 lease_ttl_ms   6 7 tokens wanted, soft and strict
--      8 9 nano-dollars wanted, soft and strict   10 11 input estimate, tokens and nano-dollars
--      12 opening
--
-- admit takes a lease; force does so without asking (a lease that a flush lost); tick counts a
-- request and takes no lease; peek only reads. To admit or force an exchange that is known already
-- is to peek.
-- Returns {code, now_ms, readings, in_flight, failed}
--   code 1 admitted, 0 denied, -1 some windows are not loaded: failed names their positions
--   readings: used, held, frees_at_ms (-1: nothing used), for each limit in order
--   failed: for each failed limit (for a peek: each that is spent) {position, index, amount, index, amount …}; position from 1
--           for limits, from -1 downwards for concurrencies

local now, mode = clock(ARGV[1]), ARGV[2]
local policy = cjson.decode(ARGV[3])
local asking = mode == 'admit' or mode == 'tick'
local leasing = mode == 'admit' or mode == 'force'

local function wanted(limit)
  if limit[2] == 'tok' then return tonumber(limit[7] == 1 and ARGV[7] or ARGV[6]) end
  return tonumber(limit[7] == 1 and ARGV[9] or ARGV[8])
end

-- Whether the limit lets this request in; for a peek, whether it lets anything in at all.
local function fits(limit, window, asks)
  if not asks then return window.used + window.held < limit[6] end
  local requests = limit[2] == 'req' or limit[2] == 'cnt'
  if requests then return window.used + 1 <= limit[6] end
  if limit[7] == 1 then return window.used + window.held + wanted(limit) <= limit[6] end
  return window.used + window.held < limit[6]
end

local function buckets_of(window)
  local fields = redis.call('HGETALL', window.key)
  local found = {}
  for position = 1, #fields, 2 do
    local index = string.match(fields[position], '^b(%d+)$')
    if index then
      found[#found + 1] = tonumber(index)
      found[#found + 1] = tonumber(fields[position + 1])
    end
  end
  return found
end

if mode ~= 'peek' then abandon_expired(now, 16) end
if leasing and redis.call('EXISTS', tag .. 'x:' .. ARGV[4]) == 1 then
  mode, asking, leasing = 'peek', false, false
end

local windows, unknown = {}, {}
for position, limit in ipairs(policy.limits) do
  local window = open(limit, now)
  if window then windows[position] = window else unknown[#unknown + 1] = position end
end
if #unknown > 0 and mode ~= 'force' then return {-1, now, {}, {}, unknown} end

local failed, in_flight = {}, {}
for position, scope in ipairs(policy.scopes) do
  in_flight[position] = tonumber(redis.call('HGET', tag .. 'c:' .. scope[1], 'f') or '0')
  if mode == 'admit' and scope[2] >= 0 and in_flight[position] >= scope[2] then
    failed[#failed + 1] = {-position}
  end
end
if asking or mode == 'peek' then
  for position, limit in ipairs(policy.limits) do
    if not fits(limit, windows[position], asking) then
      local buckets = buckets_of(windows[position])
      failed[#failed + 1] = {position, unpack(buckets)}
    end
  end
end

if #failed == 0 and mode ~= 'peek' then
  local holds, scopes = {}, {}
  for position, limit in ipairs(policy.limits) do
    local window = windows[position]
    if window then
      if mode == 'force' and limit[2] == 'req' then
        count_again(window, ARGV[12], now)
      elseif limit[2] == 'req' or limit[2] == 'cnt' then
        add(window, 1, 0, now)
      else
        holds[window.name] = whole(wanted(limit))
        add(window, 0, wanted(limit), now)
      end
    end
  end
  if leasing then
    for position, scope in ipairs(policy.scopes) do
      scopes[position] = scope[1]
      in_flight[position] = redis.call('HINCRBY', tag .. 'c:' .. scope[1], 'f', 1)
    end
    redis.call('ZADD', tag .. 'leases', whole(now + tonumber(ARGV[5])), ARGV[4])
    redis.call('HSET', tag .. 'x:' .. ARGV[4], 'k', table.concat(scopes, ' '),
      'h', cjson.encode(holds), 'o', ARGV[12], 'i', ARGV[10], 'j', ARGV[11])
  end
end

local readings = {}
for position in ipairs(policy.limits) do
  local window = windows[position]
  readings[#readings + 1] = window and window.used or 0
  readings[#readings + 1] = window and window.held or 0
  readings[#readings + 1] = window and frees_at(window) or -1
end
return {(#failed == 0 or mode == 'peek') and 1 or 0, now, readings, in_flight, failed}
