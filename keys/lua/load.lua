-- Fill one window from the ledger, unless another process did or the ledger has moved on.
--
-- KEYS 1 {sNN}:leases
-- ARGV 1 now_ms or 0   2 scope   3 shape as JSON: [name, unit, bucket_ms, buckets, anchored_ms]
--      4 id of the last event the caller has seen   5 anchor start_ms, 0 for none
--      then for each bucket: index, amount
-- Returns 1 loaded, 0 there already, -1 an event of this scope came since: read again.

local now, scope, shape = clock(ARGV[1]), ARGV[2], cjson.decode(ARGV[3])
local key = tag .. 'w:' .. shape[1]
if redis.call('EXISTS', key) == 1 then return 0 end

for _, event in ipairs(redis.call('XRANGE', tag .. 'events', '(' .. ARGV[4], '+')) do
  local fields = event[2]
  for position = 1, #fields, 2 do
    if fields[position] == 'k' then
      for name in string.gmatch(fields[position + 1], '%S+') do
        if name == scope then return -1 end
      end
    end
  end
end

local used, lo, hi, ahead = 0, nil, nil, nil
local current = math.floor(now / shape[3])
for position = 6, #ARGV, 2 do
  local index, amount = tonumber(ARGV[position]), tonumber(ARGV[position + 1])
  used = used + amount
  if shape[5] == 0 and amount > 0 then
    -- The clock was set back, or a gateway's is fast: as if it were used now.
    if index > current then index, ahead = current, math.max(ahead or index, index) end
    redis.call('HINCRBY', key, 'b' .. whole(index), whole(amount))
    lo = math.min(lo or index, index)
    hi = math.max(hi or index, index)
  end
end
if ahead then redis.call('HSET', key, 'r', whole((ahead + 1) * shape[3] - 1)) end
local idle_ms
if shape[5] > 0 then
  redis.call('HSET', key, 'u', whole(used), 'h', 0, 'start', ARGV[5])
  -- Whatever was charged before a window that has not begun was never charged to it.
  if ARGV[5] == '0' then redis.call('HSET', key, 'r', whole(now)) end
  idle_ms = now + shape[5]
else
  redis.call('HSET', key, 'u', whole(used), 'h', 0,
    'lo', whole(lo or current), 'hi', whole(hi or current))
  idle_ms = now + (shape[4] + 1) * shape[3]
end
redis.call('HSET', tag .. 'c:' .. scope, shape[1], ARGV[3])
-- When this shard began to count, for settlements by the release before.
redis.call('SET', tag .. 'began', whole(now), 'NX')
redis.call('ZADD', tag .. 'idle', whole(idle_ms + KEEP_IDLE_MS), shape[1])
return 1
